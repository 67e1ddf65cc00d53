"""Train an SVC on Iris: a training script as Azure ML's users write them. It knows nothing of trialtree."""

import argparse
import os

import mlflow
import mlflow.sklearn
from sklearn import datasets
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kernel", type=str, default="linear", help="kernel of the SVC")
    parser.add_argument("--penalty", type=float, default=1.0, help="C of the SVC")
    parser.add_argument("--registered_model_name", type=str, default="iris-svm", help="name of the model")
    args = parser.parse_args()

    mlflow.start_run()
    mlflow.sklearn.autolog()
    mlflow.log_param("Kernel type", str(args.kernel))
    mlflow.log_metric("Penalty", float(args.penalty))

    iris = datasets.load_iris()
    x_train, x_test, y_train, y_test = train_test_split(iris.data, iris.target, random_state=0)

    model = SVC(kernel=args.kernel, C=args.penalty).fit(x_train, y_train)
    predictions = model.predict(x_test)

    accuracy = model.score(x_test, y_test)
    print(f"Accuracy of SVM classifier on test set: {accuracy:.2f}")
    mlflow.log_metric("Accuracy", float(accuracy))
    print(confusion_matrix(y_test, predictions))

    print("Registering the model via MLflow")
    mlflow.sklearn.log_model(sk_model=model, registered_model_name=args.registered_model_name, name="model")
    mlflow.sklearn.save_model(sk_model=model, path=os.path.join(args.registered_model_name, "trained_model"))
    mlflow.end_run()


if __name__ == "__main__":
    main()
