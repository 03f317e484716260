from dataclasses import replace

import pytest

from heatproof.errors import DataError
from heatproof.testing.toys import Blobs
from heatproof_training.cohort import Member
from heatproof_training.partition import Parts, partitions, require_sound
from heatproof_training.sampling import batches, order
from heatproof_training.settings import SplitSettings

CLASSES = ("none", "mild", "severe")


def members(patients: int = 400) -> list[Member]:
    """Two images per patient; the classes have shares of about 60, 30 and 10 percent."""
    grades = [(0, 0, 0, 0, 0, 0, 1, 1, 1, 2)[patient % 10] for patient in range(patients)]
    return [
        Member(f"{patient}-{side}", str(patient), (grades[patient],)) for patient in range(patients) for side in "lr"
    ]


def test_shares_hold_in_every_class_and_no_patient_is_in_two_parts() -> None:
    cohort = members()
    [parts] = partitions(SplitSettings(validation=0.15, test=0.2), cohort, Blobs(), 0)
    for share, part in ((0.65, parts.train), (0.15, parts.validation), (0.2, parts.test)):
        assert len(part) / len(cohort) == pytest.approx(share, abs=0.01)
        for label in range(3):
            whole = [member for member in cohort if member.label == label]
            assert sum(member.label == label for member in part) / len(whole) == pytest.approx(share, abs=0.03)
    assert require_sound(parts, CLASSES, True) == []
    everyone = [member.id for part in parts.named().values() for member in part]
    assert sorted(everyone) == sorted(member.id for member in cohort)
    [again] = partitions(SplitSettings(validation=0.15, test=0.2), cohort[::-1], Blobs(), 0)
    assert {member.id for member in again.test} == {member.id for member in parts.test}
    [other] = partitions(SplitSettings(validation=0.15, test=0.2), cohort, Blobs(), 1)
    assert {member.id for member in other.test} != {member.id for member in parts.test}


def test_a_class_with_a_single_patient_is_for_training() -> None:
    cohort = [*members(9), Member("rare", "rare", (2,))]
    for seed in range(5):
        [parts] = partitions(SplitSettings(validation=0.4, test=0.2), cohort, Blobs(), seed)
        assert "rare" in {member.id for member in parts.train}


def test_every_sample_is_tested_in_one_fold() -> None:
    cohort = members(57)
    folds = partitions(SplitSettings(folds=5, validation=0.2), cohort, Blobs(), 3)
    assert len(folds) == 5
    assert sorted(member.id for fold in folds for member in fold.test) == sorted(member.id for member in cohort)
    sizes = [len(fold.test) for fold in folds]
    assert max(sizes) - min(sizes) <= 2
    for fold in folds:
        assert require_sound(fold, CLASSES, True) == []
        assert len(fold.validation) == pytest.approx(0.2 * (len(cohort) - len(fold.test)), abs=2)


def test_splits_of_the_dataset_by_name() -> None:
    dataset = Blobs(count=12)
    cohort = [Member(id, dataset.patient(id), (0,)) for id in dataset.ids()]
    [parts] = partitions(SplitSettings(train="tuning", validation="test"), cohort, dataset, 0)
    assert [member.id for member in parts.train] == dataset.ids("tuning")
    assert [member.id for member in parts.validation] == dataset.ids("test")
    assert not parts.test


def test_parts_at_fault_are_told_in_one_sentence() -> None:
    first, second, third = (Member(str(index), str(index), (index % 2,)) for index in range(3))
    with pytest.raises(DataError, match="no sample is left for the train part"):
        require_sound(Parts([], [first], []), CLASSES, True)
    with pytest.raises(DataError, match="no sample is left for the test part"):
        require_sound(Parts([first, second], [], []), CLASSES, True, ["test"])
    with pytest.raises(DataError, match=r"patient '0' is in the train and in the test part \(sample b\)"):
        require_sound(Parts([first, second], [], [replace(first, id="b")]), CLASSES, True)
    with pytest.raises(DataError, match="1 of 1 samples of the validation part have no label, such as 2"):
        require_sound(Parts([first, second], [replace(third, labels=None)], []), CLASSES, True)
    assert require_sound(Parts([first, second], [replace(third, labels=None)], []), CLASSES, False) == []
    with pytest.raises(DataError, match="no sample of the train part has the class 'mild', so it cannot be learned"):
        require_sound(Parts([first], [second], []), CLASSES, True)
    [flag] = require_sound(Parts([first, second], [third], []), CLASSES, True)
    assert "no sample of the validation part has the class 'mild'" in flag.text


def test_balanced_draws() -> None:
    cohort = members(100)
    draws = order(cohort, 0, 4, balanced=True)
    labels = {member.id: member.label for member in cohort}
    counts = [sum(labels[draw.id] == label for draw in draws) for label in range(3)]
    assert sum(counts) == len(cohort)
    assert max(counts) - min(counts) <= 1
    rare = [sum(draw.id == member.id for draw in draws) for member in cohort if member.label == 2]
    assert max(rare) - min(rare) <= 1
    assert len({(draw.id, draw.repetition) for draw in draws}) == len(draws)


@pytest.mark.parametrize("balanced", [False, True])
def test_the_order_depends_on_seed_epoch_and_ids_only(balanced: bool) -> None:
    cohort = members(30)
    draws = order(cohort, 0, 2, balanced)
    assert order(cohort[::-1], 0, 2, balanced) == draws
    assert order(cohort, 0, 3, balanced) != draws
    assert order(cohort, 1, 2, balanced) != draws


def test_a_last_batch_of_a_single_sample_joins_the_one_before() -> None:
    draws = order(members(5), 0, 0, False)
    assert [len(batch) for batch in batches(draws, 3)] == [3, 3, 4]
    assert [len(batch) for batch in batches(draws, 4)] == [4, 4, 2]
    assert [len(batch) for batch in batches(draws, 1)] == [1] * 10
    assert [draw for batch in batches(draws, 3) for draw in batch] == draws
