"""The one error class says what was asked, what was found and what to do, in every process."""

import copy
import pickle

from nn_graphs.errors import NNGraphsError

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
