"""
Hostile bodies, guided by the coverage of our own code: a program, `python -m tests.attacks.guided`.

It takes libFuzzer's options: `-runs=100000 -seed=1`. An attack that reaches code which none has reached before is kept
and changed further, by the same mutations as everywhere here. The first one that fails ends it, and is shown.
"""

import sys
import tempfile
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

import msgspec

# Has wheels for Linux on x86-64 only; where it is missing this program is not run.
atheris: Any = import_module("atheris")

# What is imported in here counts which of its branches are taken.
with atheris.instrument_imports(include=["kpay_core", "kpay_http", "kpay_adapters"]):
    from tests.attacks.corpus import SELDOM, valid_requests
    from tests.attacks.mutation import MAX_BYTES, Mutator
    from tests.attacks.target import Attack, Ears, Target, fresh_world, wrong
    from tests.attacks.test_bodies import ROUND, report

# Room for a body and what goes along with it.
MAX_INPUT_BYTES = MAX_BYTES + 64 * 1024

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Attack).decode


class Fuzzing:
    """What libFuzzer calls: one input is one attack, written down."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._valid = valid_requests(target)
        self._cheap = [each for each in self._valid if each.operation not in SELDOM]
        self._sent = 0

    def attack(self, data: bytes) -> None:
        try:
            attack = decode(data)
        except msgspec.MsgspecError:
            return
        heard = self._target.world.run(self._target.fire(attack))
        if why := wrong(heard, attack, self._target.ears.take()):
            sys.stderr.write(report(why, attack, seed=0, number=self._sent) + "\n")
            raise AssertionError(why)
        self._sent += 1
        if self._sent % ROUND == 0:
            self._target.forget()

    def mutate(self, data: bytes, max_size: int, seed: int) -> bytes:
        random = Random(seed)
        try:
            attack = decode(data)
        except msgspec.MsgspecError:
            attack = random.choice(self._valid)
        if random.random() > SELDOM.get(attack.operation, 1):
            attack = random.choice(self._cheap)
        try:
            written = encode(Mutator(random).mutate(attack, random.choice(self._valid)))
        except UnicodeEncodeError:
            # A path with half of a surrogate pair, which cannot be written down.
            return data[:max_size]
        return written if len(written) <= max_size else data[:max_size]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Ears() as ears, fresh_world() as world:
        fuzzing = Fuzzing(Target(world, ears))
        for number, attack in enumerate(valid_requests(fuzzing._target)):
            (Path(folder) / str(number)).write_bytes(encode(attack))
        options = [
            f"-max_len={MAX_INPUT_BYTES}",
            "-len_control=0",
            # Nobody else writes into the folder, and looking there now and then would send more than was asked for.
            "-reload=0",
            f"-artifact_prefix={folder}/",
            *sys.argv[1:],
        ]
        atheris.Setup([sys.argv[0], *options, folder], fuzzing.attack, custom_mutator=fuzzing.mutate)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
