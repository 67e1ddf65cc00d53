"""Sobol's sequence: direction numbers of the first 40 dimensions.

Joe and Kuo, Constructing Sobol sequences with better two-dimensional projections, 2008,
https://doi.org/10.1137/070709359; of their file new-joe-kuo-6.21201.
"""

BITS = 32

# Of each dimension after the first: its primitive polynomial, as bits, and the first direction numbers.
_GIVEN: tuple[tuple[int, tuple[int, ...]], ...] = (
    (3, (1,)), (7, (1, 3)), (11, (1, 3, 1)), (13, (1, 1, 1)), (19, (1, 1, 3, 3)), (25, (1, 3, 5, 13)),
    (37, (1, 1, 5, 5, 17)), (41, (1, 1, 5, 5, 5)), (47, (1, 1, 7, 11, 19)), (55, (1, 1, 5, 1, 1)),
    (59, (1, 1, 1, 3, 11)), (61, (1, 3, 5, 5, 31)), (67, (1, 3, 3, 9, 7, 49)), (91, (1, 1, 1, 15, 21, 21)),
    (97, (1, 3, 1, 13, 27, 49)), (103, (1, 1, 1, 15, 7, 5)), (109, (1, 3, 1, 15, 13, 25)),
    (115, (1, 1, 5, 5, 19, 61)), (131, (1, 3, 7, 11, 23, 15, 103)), (137, (1, 3, 7, 13, 13, 15, 69)),
    (143, (1, 1, 3, 13, 7, 35, 63)), (145, (1, 3, 5, 9, 1, 25, 53)), (157, (1, 3, 1, 13, 9, 35, 107)),
    (167, (1, 3, 1, 5, 27, 61, 31)), (171, (1, 1, 5, 11, 19, 41, 61)), (185, (1, 3, 5, 3, 3, 13, 69)),
    (191, (1, 1, 7, 13, 1, 19, 1)), (193, (1, 3, 7, 5, 13, 19, 59)), (203, (1, 1, 3, 9, 25, 29, 41)),
    (211, (1, 3, 5, 13, 23, 1, 55)), (213, (1, 3, 7, 3, 13, 59, 17)), (229, (1, 3, 1, 3, 5, 53, 69)),
    (239, (1, 1, 5, 5, 23, 33, 13)), (241, (1, 1, 7, 7, 1, 61, 123)), (247, (1, 1, 7, 9, 13, 61, 49)),
    (253, (1, 3, 3, 5, 3, 55, 33)), (285, (1, 3, 1, 15, 31, 13, 49, 245)), (299, (1, 3, 5, 15, 31, 59, 63, 97)),
    (301, (1, 3, 1, 11, 11, 11, 77, 249)),
)  # fmt: skip


def point(index: int, dimension: int) -> int:
    """Return a coordinate of a point, `BITS` bits."""
    gray = index ^ (index >> 1)
    found = 0
    for bit, direction in enumerate(_DIRECTIONS[dimension]):
        if gray >> bit & 1:
            found ^= direction
    return found


def _directions(polynomial: int, given: tuple[int, ...]) -> tuple[int, ...]:
    """Return the direction numbers of a dimension, of `BITS` bits each."""
    degree = len(given)
    numbers = list(given)
    for place in range(degree, BITS):
        number = numbers[place - degree] ^ (numbers[place - degree] << degree)
        for power in range(1, degree):
            if polynomial >> (degree - power) & 1:
                number ^= numbers[place - power] << power
        numbers.append(number)
    return tuple(number << (BITS - 1 - place) for place, number in enumerate(numbers))


_DIRECTIONS = (tuple(1 << (BITS - 1 - place) for place in range(BITS)), *(_directions(*of) for of in _GIVEN))
DIMENSIONS = len(_DIRECTIONS)
