"""The verbs about stores, queues, messages and deliveries."""

from datetime import UTC, datetime
from typing import Any

import onceward

from scenario_steps import (
    MistakeError,
    Step,
    body,
    duration,
    listed,
    shown,
    shown_header,
    text,
    yes,
    yes_or_no,
)
from scenario_world import Api, World, make, named, verb


@verb("open")
def open_store(world: World, step: Step) -> None:
    name, path = step.option("as") or "store", world.path(step.option("path") or "app.db")
    options = step.given(
        busy_timeout=duration,
        transaction_time_limit=duration,
        body_bytes_max=int,
        wal_bytes_max=int,
        allow_remote_file_system=yes_or_no,
        create=yes_or_no,
    )
    store = make("open", path, **options)
    assert Api(store).path == path
    world.stores[name] = store


@verb("close")
def close(world: World, step: Step) -> None:
    world.store(step).close()


def several(names: str) -> list[str]:
    """Read names between commas; `s#3` stands for s0, s1 and s2."""
    found: list[str] = []
    for name in names.split(","):
        begin, counted, count = name.partition("#")
        found += [f"{begin}{index}" for index in range(int(count))] if counted else [name]
    return found


def window(word: str) -> Any:
    return word if word == "forever" else duration(word)


@verb("queue")
def queue(world: World, step: Step) -> None:
    word = step.word()
    alias, name = step.option("as") or word, text(word)
    options = step.given(
        semantics=str,
        lease=duration,
        attempts_max=lambda given: given if given == "unlimited" else int(given),
        subscriptions=several,
    )
    if windowed := step.option("window"):
        options["deduplication_window"] = window(windowed)
    readers: dict[str, Any] = {"first": duration, "factor": float, "cap": duration, "jitter": float}
    if backoff := {part: readers[part](given) for part, given in step.options("backoff_").items()}:
        options["backoff"] = make("Backoff", **backoff)
    opened = world.store(step).queue(name, **options)
    assert Api(opened).name == name
    assert Api(opened).semantics == options.get("semantics", opened.semantics)
    world.receivers[alias] = opened


@verb("queues")
def queues(world: World, step: Step) -> str:
    return listed(map(shown, world.store(step).queues()))


def milliseconds(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"


@verb("settings")
def settings(world: World, step: Step) -> str:
    found = Api(world.receiver(step).settings())
    backoff, windowed = Api(found.backoff), found.deduplication_window
    parts = [milliseconds(backoff.first), f"{backoff.factor:g}", milliseconds(backoff.cap), f"{backoff.jitter:g}"]
    kept = windowed if isinstance(windowed, str) else milliseconds(windowed)
    return (
        f"{found.semantics} lease={milliseconds(found.lease)} attempts_max={found.attempts_max}"
        f" backoff={','.join(parts)} window={kept} paused={yes(found.paused)}"
    )


@verb("store_stats")
def store_stats(world: World, step: Step) -> str:
    stats = Api(world.store(step).stats())
    whole = stats.file_bytes > 0 and stats.wal_bytes > 0 and stats.sqlite_version.startswith("3.")
    return f"queues={stats.queues} in_doubt={stats.in_doubt} sizes={yes(whole)}"


def parts(word: str) -> tuple[str, str]:
    queue, slash, name = word.partition("/")
    if not slash:
        raise MistakeError("a subscription is queue/name")
    return queue, text(name)


@verb("subscribe", "subscription")
def subscription(world: World, step: Step) -> None:
    word = step.word()
    queue, name = parts(word)
    of = Api(world.queue(queue))
    found = of.subscribe(name, **step.given(start=str)) if step.verb == "subscribe" else of.subscription(name)
    assert Api(found).name == name
    assert Api(found).queue.name == world.queue(queue).name
    world.receivers[step.option("as") or word] = found


@verb("subscriptions")
def subscriptions(world: World, step: Step) -> str:
    return listed(map(shown, world.receiver(step).subscriptions()))


@verb("unsubscribe")
def unsubscribe(world: World, step: Step) -> None:
    queue, name = parts(step.word())
    Api(world.queue(queue)).unsubscribe(name)


def message_options(step: Step) -> dict[str, Any]:
    options = step.given(
        key=text, ordering_key=text, priority=int, delay=duration, deliver_in=str, time_to_live=duration
    )
    if from_now := options.pop("deliver_in", None):
        now = datetime.now(UTC)
        options["deliver_at"] = now - duration(from_now[1:]) if from_now[0] == "-" else now + duration(from_now)
    headers = step.options("header.")
    if headers:
        options["headers"] = {
            name: body(value) if value.startswith("hex:") else text(value) for name, value in headers.items()
        }
    return options


def sent(world: World, step: Step, one: Any) -> str:
    if name := step.option("as"):
        world.ids[name] = Api(one).id
    return f"duplicate {world.name_of(one.id)}" if Api(one).duplicate else "sent"


@verb("send")
def send(world: World, step: Step) -> str:
    to = Api(world.queue(step.word()))
    return sent(world, step, to.send(body(step.word()), **message_options(step)))


def message(word: str, options: dict[str, Any]) -> onceward.Message:
    """Make a message of a body, or of a body and a key: `hello/k1`."""
    content, slash, key = word.partition("/")
    made = make("Message", body(content), **(options | {"key": text(key)} if slash else options))
    seen = Api(made)
    assert (seen.body, seen.key) == (body(content), text(key) if slash else options.get("key"))
    assert (seen.headers, seen.priority) == (options.get("headers", {}), options.get("priority"))
    assert seen.ordering_key == options.get("ordering_key")
    assert (seen.delay, seen.deliver_at, seen.time_to_live) == (None, None, None) or options
    return seen._of  # type: ignore[no-any-return]


@verb("send_many")
def send_many(world: World, step: Step) -> str:
    to, options = Api(world.queue(step.word())), message_options(step)
    done = to.send_many([message(word, options) for word in step.repeated()])
    if begin := step.option("as"):
        world.ids.update({f"{begin}{index}": one.id for index, one in enumerate(done, start=1)})
    duplicates = sum(one.duplicate for one in done)
    return f"sent {len(done) - duplicates} duplicates {duplicates}"


@verb("tx_send")
def tx_send(world: World, step: Step) -> str:
    transaction = Api(named(world.transactions, step.word()))
    to = world.queue(step.word())
    return sent(world, step, transaction.send(to, body(step.word()), **message_options(step)))


def field(world: World, one: Any, name: str) -> str:
    match name:
        case "message":
            return world.name_of(one.id)
        case "attempt" | "attempts" | "priority":
            return str(getattr(one, name))
        case "headers":
            found = [f"{key}:{shown_header(value)}" for key, value in sorted(one.headers.items())]
            return ";".join(found) or "-"
        case "body" | "key" | "ordering_key" | "reason" | "error":
            return shown(getattr(one, name))
    raise MistakeError(f"there is no field {name}")


def fields(world: World, one: Any, show: str) -> str:
    return ",".join(field(world, one, name) for name in show.split(","))


def keep(world: World, name: str | None, show: str, delivery: Any) -> str:
    """Keep a delivery under its name, and show it."""
    one = Api(delivery)
    receipt = Api(one.receipt)
    assert (receipt.id, receipt.token) == (one.id, one.token)
    assert one.queue.name == one.subscription.queue.name
    assert one.sent_at <= datetime.now(UTC)
    assert one.lease_expires_at > one.sent_at
    if name is not None:
        world.deliveries[name] = delivery
    return fields(world, one, show)


@verb("receive")
def receive(world: World, step: Step) -> str:
    receiver, name, show = world.receiver(step), step.option("as"), step.option("show") or "body"
    delivery = receiver.receive(**step.given(wait=duration, lease=duration))
    return "empty" if delivery is None else keep(world, name, show, delivery)


@verb("receive_many")
def receive_many(world: World, step: Step) -> str:
    receiver, name, show = world.receiver(step), step.option("as"), step.option("show") or "body"
    batch = receiver.receive_many(int(step.option("max") or 1), **step.given(wait=duration, lease=duration))
    if show == "count":
        return str(len(batch))
    return listed(keep(world, name and f"{name}{index}", show, one) for index, one in enumerate(batch, start=1))


def settling(step: Step) -> tuple[str, list[Any], dict[str, Any]]:
    """Return the name of the call, and its arguments besides the deliveries."""
    call = step.verb.removesuffix("_many")
    match call:
        case "nack":
            return call, [], step.given(delay=duration, error=text)
        case "dead_letter":
            return call, [text(step.needed("reason"))], {}
        case "extend":
            return call, [duration(step.needed("lease"))], {}
    return call, [], {}


@verb("ack", "nack", "dead_letter", "release", "extend")
def settle(world: World, step: Step) -> None:
    delivery = world.delivery(step.word())
    call, arguments, options = settling(step)
    getattr(delivery, call)(*arguments, **options)


@verb("ack_many", "nack_many", "dead_letter_many", "release_many", "extend_many")
def settle_many(world: World, step: Step) -> str:
    receiver, words = world.receiver(step), step.repeated()
    call, arguments, options = settling(step)
    return world.lost(words, getattr(receiver, call)([world.receipt(word) for word in words], *arguments, **options))


@verb("settled")
def settled(world: World, step: Step) -> str:
    return yes(world.delivery(step.word()).settled)


@verb("newer")
def newer(world: World, step: Step) -> str:
    old, new = (world.delivery(word).token for word in step.rest())
    return yes(new > old)


@verb("receipt")
def receipt(world: World, step: Step) -> None:
    name, of = step.word(), step.needed("message")
    id = world.ids[of] if of in world.ids else int(of)
    world.receipts[name] = make("Receipt", id, int(step.option("token") or 1))


@verb("consume")
def consume(world: World, step: Step) -> None:
    receiver = world.receiver(step)
    world.consumers[step.needed("as")] = receiver.consume(**step.given(batch=int, wait=duration, lease=duration))


@verb("drain")
def drain(world: World, step: Step) -> str:
    """Take and acknowledge everything, as a worker does."""
    receiver, found = world.receiver(step), []
    with receiver.consume(**step.given(batch=int, wait=duration, lease=duration)) as deliveries:
        for delivery in deliveries:
            found.append(shown(delivery.body))
            delivery.ack()
    return listed(found)


@verb("next")
def following(world: World, step: Step) -> str:
    consumer = named(world.consumers, step.word())
    name, show = step.option("as"), step.option("show") or "body"
    delivery = next(consumer, None)
    return "end" if delivery is None else keep(world, name, show, delivery)


@verb("flush", "stop_consumer", "end")
def end_consumer(world: World, step: Step) -> None:
    consumer = Api(named(world.consumers, step.word()))
    match step.verb:
        case "flush":
            consumer.flush()
        case "stop_consumer":
            consumer.stop()
        case _:
            consumer.close()


@verb("cancel")
def cancel(world: World, step: Step) -> str:
    return yes(Api(world.queue(step.word())).cancel(world.ids[step.word()]))


@verb("purge")
def purge(world: World, step: Step) -> str:
    return str(Api(world.queue(step.word())).purge())


@verb("pause", "resume")
def pause(world: World, step: Step) -> None:
    getattr(Api(world.queue(step.word())), step.verb)()


@verb("paused")
def paused(world: World, step: Step) -> str:
    return yes(Api(world.queue(step.word())).is_paused())


@verb("peek")
def peek(world: World, step: Step) -> str:
    receiver, show = world.receiver(step), step.option("show") or "body"
    seen = receiver.peek(int(step.option("max") or 1))
    assert all(Api(one).sent_at <= datetime.now(UTC) for one in seen)
    return listed(fields(world, Api(one), show) for one in seen)


@verb("unfinished")
def unfinished(world: World, step: Step) -> str:
    receiver = world.receiver(step)
    left = receiver.unfinished([world.ids[name] for name in step.repeated()])
    return listed(world.name_of(id) for id in left)


@verb("stats")
def stats(world: World, step: Step) -> str:
    found = Api(world.receiver(step).stats())
    names = ("ready", "delayed", "blocked", "in_flight", "dead", "in_doubt")
    counts = " ".join(f"{name}={getattr(found, name)}" for name in names)
    return f"{counts} aged={yes(found.oldest_age is not None)}"


@verb("dead_letters")
def dead_letters(world: World, step: Step) -> str:
    receiver, show = world.receiver(step), step.option("show") or "body"
    letters = receiver.dead_letters(**step.given(after=lambda name: world.ids[name], max=int))
    for letter in map(Api, letters):
        assert letter.died_at >= letter.sent_at
        assert letter.priority in range(10)
        assert letter.ordering_key is None or letter.ordering_key
    return listed(fields(world, Api(letter), show) for letter in letters)


@verb("redrive", "purge_dead", "redrive_all", "purge_dead_all")
def letters(world: World, step: Step) -> str:
    receiver, name = world.receiver(step), step.verb.removesuffix("_all")
    ids = None if step.verb.endswith("_all") else [world.ids[word] for word in step.repeated()]
    return str(getattr(receiver, name)(ids))
