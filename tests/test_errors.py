"""The one error class says what was asked, what was found and what to do, in every process."""

import copy
import pickle

from nn_graphs.errors import NNGraphsError, check_known

ERROR = NNGraphsError("open a.h5", found="there is no such file.", do="Make it.")


def test_message():
    assert str(ERROR) == "Cannot open a.h5: there is no such file. Make it."
    assert (ERROR.asked, ERROR.found, ERROR.do) == (
        "open a.h5",
        "there is no such file.",
        "Make it.",
    )


def test_errors_pass_from_process_to_process():
    for again in (pickle.loads(pickle.dumps(ERROR)), copy.copy(ERROR)):
        assert type(again) is NNGraphsError
        assert str(again) == str(ERROR)
        assert vars(again) == vars(ERROR)


def test_names_that_there_are(raises_saying):
    check_known("relu", {"tanh": 1, "relu": 2}, asked="use relu")
    with raises_saying(asked="use swish", found="no 'swish'", do="Choose one of tanh, relu."):
        check_known("swish", {"tanh": 1, "relu": 2}, asked="use swish")
