"""Train CatBoost on California housing in the manner of SageMaker's script mode. It knows nothing of trialtree."""

import argparse
import glob
import os

import numpy as np
import pandas as pd
from catboost import CatBoostRegressor

TARGET = "med_house_val"
FEATURES = ["med_inc", "house_age", "ave_rooms", "ave_bedrms", "population", "ave_occup", "latitude", "longitude"]


def read(channel):
    """Return all files of a channel as one table."""
    files = sorted(glob.glob(os.path.join(channel, "*.csv")))
    return pd.concat(pd.read_csv(file) for file in files)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--learning_rate", type=float, default=1)
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--model-dir", type=str, default=os.environ.get("SM_MODEL_DIR"))
    parser.add_argument("--train", type=str, default=os.environ.get("SM_CHANNEL_TRAIN"))
    parser.add_argument("--validation", type=str, default=os.environ.get("SM_CHANNEL_VALIDATION"))
    args, _ = parser.parse_known_args()

    train, validation = read(args.train), read(args.validation)
    model = CatBoostRegressor(
        learning_rate=args.learning_rate, depth=args.depth, random_seed=0, allow_writing_files=False
    )
    model.fit(
        train[FEATURES], train[TARGET], eval_set=(validation[FEATURES], validation[TARGET]), logging_level="Silent"
    )

    errors = np.abs(model.predict(validation[FEATURES]) - validation[TARGET])
    for q in [10, 50, 90]:
        print(f"AE-at-{q}th-percentile: {np.percentile(a=errors, q=q)}")

    model.save_model(os.path.join(args.model_dir, "model.cbm"))
