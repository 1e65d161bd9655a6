"""What is said of findings in one sentence."""

from hubel.data.findings import Finding, in_short


def test_the_gravest_is_the_example_and_notes_are_left_out():
    found = [
        Finding("class count", "data.yaml", "nc is 3", "Correct it.", 1),
        Finding("syntax", "a.txt", "5 numbers were expected", "Correct the line.", 7, severity="error"),
        Finding("syntax", "b.txt", "empty", "Fill it.", severity="error"),
        Finding("moved files", "x", "they lie elsewhere", "Nothing.", severity="note"),
    ]
    told = "the data has 3 faults (syntax 2, class count 1), which hubel data shows"
    assert in_short(found) == f"{told}, such as a.txt, line 7: 5 numbers were expected"
    assert in_short(found, example=False) == told


def test_nothing_is_said_of_nothing():
    assert in_short([]) == in_short([Finding("moved files", "x", "elsewhere", "Nothing.", severity="note")]) == ""


def test_a_file_without_a_line():
    said = in_short([Finding("missing file", "a.png", "not there", "Add it.")])
    assert said == "the data has 1 fault (missing file 1), which hubel data shows, such as a.png: not there"
