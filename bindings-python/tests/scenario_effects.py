"""The verbs about transactions, calls at third parties, and doubts."""

import time
from typing import Any

from onceward import NOT_APPLIED, UNKNOWN, Answer, Applied

from scenario_steps import MistakeError, Step, body, duration, listed, parameter, shown, shown_value, text
from scenario_verbs import window
from scenario_world import Api, RefusedError, World, make, named, verb


def begin(world: World, step: Step) -> Any:
    """Begin a transaction of a delivery, or of the store."""
    of = step.option("of")
    return (world.delivery(of) if of else world.store(step)).transaction()


@verb("transaction")
def transaction(world: World, step: Step) -> None:
    name = step.word()
    world.transactions[name] = begin(world, step)


@verb("execute", "query")
def execute(world: World, step: Step) -> str:
    tx = Api(named(world.transactions, step.word()))
    sql, parameters = step.word(), [parameter(word) for word in step.rest()]
    if step.verb == "execute":
        return str(tx.execute(sql, parameters))
    rows = tx.query(sql, parameters)
    found = [",".join(map(shown_value, row)) for row in rows]
    return " ".join([",".join(Api(rows).columns), *found])


@verb("execute_many")
def execute_many(world: World, step: Step) -> str:
    tx, sql = Api(named(world.transactions, step.word())), step.word()
    sets: list[list[Any]] = [[]]
    for word in step.rest():
        if word == "/":
            sets.append([])
        else:
            sets[-1].append(parameter(word))
    return str(tx.executemany(sql, sets))


@verb("apply")
def apply(world: World, step: Step) -> str:
    """Run one statement in a transaction of its own."""
    with begin(world, step) as tx:
        return str(tx.execute(step.word(), [parameter(word) for word in step.rest()]))


@verb("tx_ack")
def tx_ack(world: World, step: Step) -> None:
    tx, receiver = Api(named(world.transactions, step.word())), named(world.receivers, step.word())
    tx.ack(receiver, [world.receipt(word) for word in step.repeated()])


@verb("commit", "rollback")
def end(world: World, step: Step) -> None:
    name = step.word()
    tx = Api(named(world.transactions, name))
    del world.transactions[name]
    getattr(tx, step.verb)()


@verb("ledger")
def ledger(world: World, step: Step) -> None:
    word = step.word()
    world.ledgers[word] = world.store(step).ledger(text(word), **step.given(window=window))
    assert Api(world.ledgers[word]).name == text(word)


@verb("ledgers")
def ledgers(world: World, step: Step) -> str:
    return listed(map(shown, world.store(step).ledgers()))


def subject(world: World, name: str) -> Any:
    return Api(world.deliveries[name] if name in world.deliveries else named(world.ledgers, name))


@verb("once")
def once(world: World, step: Step) -> str:
    of, name = subject(world, step.word()), text(step.word())
    how, _, what = step.needed("call").partition(":")
    asked = step.option("probe")
    options = step.given(on_unknown=str, settle=duration, idempotent_for=duration, wait=duration, request=body)

    def call() -> bytes:
        world.calls += 1
        if how == "hang":
            print("calling", flush=True)
            time.sleep(3600)
        if how == "failed":
            raise RefusedError(what)
        if how == "unknown":
            raise TimeoutError(what)
        return body(what)

    def probe() -> Applied | Answer:
        world.probes += 1
        found, _, result = (asked or "").partition(":")
        if found == "applied":
            return Applied(body(result))
        return NOT_APPLIED if found == "not_applied" else UNKNOWN

    async def call_async() -> bytes:
        return call()

    async def probe_async() -> Applied | Answer:
        return probe()

    options["failed_on"] = RefusedError
    if world.form == "async":
        options |= {"probe": probe_async} if asked else {}
        return shown(world.wait_for(of.once_async(name, call_async, **options)))
    options |= {"probe": probe} if asked else {}
    return shown(of.once(name, call, **options))


@verb("calls")
def calls(world: World, _: Step) -> str:
    found = f"calls={world.calls} probes={world.probes}"
    world.calls = world.probes = 0
    return found


@verb("idempotency_key")
def idempotency_key(world: World, step: Step) -> str:
    """Show a key by the order in which it was first seen."""
    key = subject(world, step.word()).idempotency_key(text(step.word()))
    assert len(key) == 36
    if key not in world.keys:
        world.keys.append(key)
    return f"key {world.keys.index(key) + 1}"


def doubt(world: World, word: str) -> int:
    return world.doubts[word] if word in world.doubts else int(word)


def field(world: World, one: Any, name: str) -> str:
    match name:
        case "message":
            return "-" if one.message is None else world.name_of(one.message)
        case "resolution":
            found = one.resolution
            return f"applied:{shown(found.result)}" if isinstance(found, Applied) else "not_applied"
        case "queue" | "subscription" | "ledger" | "name" | "key" | "evidence" | "actor":
            return shown(getattr(one, name))
    raise MistakeError(f"there is no field {name}")


@verb("in_doubt", "resolutions")
def in_doubt(world: World, step: Step) -> str:
    show, begin = step.option("show") or "name", step.option("as")
    list_of = getattr(world.store(step), step.verb)
    found = list_of(**step.given(after=lambda word: doubt(world, word), max=int))
    for index, one in enumerate(map(Api, found), start=1):
        if step.verb == "in_doubt":
            assert one.called_at <= one.since
            assert one.process > 0
        else:
            assert one.since <= one.resolved_at
        if begin is not None:
            world.doubts[f"{begin}{index}"] = one.doubt
        assert one.doubt > 0
        assert one.error
    return listed(",".join(field(world, Api(one), name) for name in show.split(",")) for one in found)


@verb("resolve")
def resolve(world: World, step: Step) -> None:
    number, applied = doubt(world, step.word()), step.option("applied")
    if applied is None and step.word() != "not_applied":
        raise MistakeError("a resolution is applied=RESULT or not_applied")
    resolution = NOT_APPLIED if applied is None else make("Applied", body(applied))
    evidence, actor = text(step.needed("evidence")), text(step.needed("actor"))
    world.store(step).resolve(number, resolution, evidence=evidence, actor=actor)
