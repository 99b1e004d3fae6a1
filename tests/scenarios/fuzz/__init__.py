# SPDX-License-Identifier: Apache-2.0
"""Operations made from every property of the CRD schemas, played against the real operator in the simulated cluster.

walk (properties) -> cases (values) -> operations, with acts (what people and machines do besides) -> sequences (dealt from a seed)
-> arena (one cluster) -> oracles (what must hold at the end) -> trial (plays, compares, makes small).

The oracles are those of Acto: every declared state is reached or refused in words, it does not depend on the path, what was broken is
mended, and going back leads back. Rejected: hypothesis, whose shrinking replays hundreds of runs of half a second each, and whose
examples are no plain list of operations that a person can read.
"""
