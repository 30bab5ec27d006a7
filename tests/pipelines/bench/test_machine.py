from pipelines.bench.machine import describe, look


def test_it_is_this_machine() -> None:
    machine = look(None)
    assert machine.cores >= 1
    assert machine.versions["torch"]
    said = describe(machine)
    assert f"{machine.cores} cores of {machine.cpu}" in said
    assert describe(look("A GPU")).startswith("A GPU; ")
