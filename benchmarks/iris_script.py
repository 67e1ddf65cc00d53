"""What the usual single script does: train, autolog, log and register the model. The yardstick of repro.py."""

import argparse

import mlflow
from sklearn.datasets import load_iris
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

parser = argparse.ArgumentParser()
parser.add_argument("--kernel", default="linear")
parser.add_argument("--penalty", type=float, default=1.0)
args = parser.parse_args()

mlflow.set_experiment("iris")
with mlflow.start_run():
    mlflow.sklearn.autolog()
    mlflow.log_param("Kernel type", args.kernel)
    mlflow.log_metric("Penalty", args.penalty)
    X, y = load_iris(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    model = SVC(kernel=args.kernel, C=args.penalty).fit(X_train, y_train)
    accuracy = model.score(X_test, y_test)
    print("Accuracy of SVM classifier on test set:", accuracy)
    mlflow.log_metric("Accuracy", accuracy)
    print(confusion_matrix(y_test, model.predict(X_test)))
    mlflow.sklearn.log_model(model, name="model", registered_model_name="iris")
