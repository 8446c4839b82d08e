"""One rank that fails ends all ranks, with its traceback."""

import pytest


@pytest.mark.parametrize("rank", [0, 1])
def test_one_rank_that_raises_ends_all_with_its_traceback(runs, study, start, tmp_path, rank):
    words = runs.command(study, tmp_path / "run", models="failing")
    code, said = start(words, 2, FAILING_RANK=str(rank)).wait(timeout=60)
    assert code not in (0, 75)
    assert f"rank {rank} of 2 failed and ends all ranks" in said
    assert "in of_a_failing_rank" in said and "ArithmeticError: negative mass" in said
    assert f"rank {1 - rank} of 2 failed" not in said
