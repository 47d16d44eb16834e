import numpy as np

from mend.data.random import permutation, uniform


def test_numbers_are_the_same_on_every_machine_and_in_a_year():
    # Made with numpy 2.4.6 by these two calls.
    assert uniform(3, 7, 3, 1).tolist() == [0.9447234340482096, 0.188398525787565, 0.5213402985899167]
    assert permutation(8, 1, 2).tolist() == [7, 1, 3, 0, 4, 2, 6, 5]
    assert uniform(2, 7, 3, 1).tolist() == uniform(5, 7, 3, 1).tolist()[:2]


def test_keys_matter_and_numbers_fill_the_unit_interval():
    assert not np.array_equal(uniform(4, 1, 2), uniform(4, 2, 1))
    many = uniform(100_000, 5)
    assert many.min() >= 0
    assert many.max() < 1
    assert abs(many.mean() - 0.5) < 0.005
    assert sorted(permutation(50, 9)) == list(range(50))
