//! Steps about the store, its queues and their subscriptions.

use onceward::{
    Backoff, Queue, QueueOptions, QueueSettings, Semantics, Start, Store, StoreOptions, Subscription, Window,
};

use crate::show;
use crate::step::{Outcome, Step, duration, mistake, text};
use crate::world::{Receiver, World};

pub(crate) fn take(world: &mut World, verb: &str, step: &mut Step) -> Option<Outcome> {
    Some(match verb {
        "open" => open(world, step),
        "close" => close(world, step),
        "queue" => queue(world, step),
        "queues" => world.store(step).and_then(|store| Ok(show::texts(&api!(Store::queues(store))?))),
        "settings" => settings(world, step),
        "store_stats" => store_stats(world, step),
        "subscribe" | "subscription" => subscription(world, verb, step),
        "subscriptions" => subscriptions(world, step),
        "unsubscribe" => unsubscribe(world, step),
        _ => return None,
    })
}

fn open(world: &mut World, step: &mut Step) -> Outcome {
    let name = step.option("as").unwrap_or_else(|| "store".to_owned());
    let path = world.path(&step.option("path").unwrap_or_else(|| "app.db".to_owned()));
    let plain = !step.has_options();
    let mut options = api!(StoreOptions::new());
    if let Some(timeout) = step.duration("busy_timeout")? {
        options = api!(StoreOptions::busy_timeout(options, timeout));
    }
    if let Some(limit) = step.duration("transaction_time_limit")? {
        options = api!(StoreOptions::transaction_time_limit(options, limit));
    }
    if let Some(bytes) = step.number("body_bytes_max")? {
        options = api!(StoreOptions::body_bytes_max(options, bytes));
    }
    if let Some(bytes) = step.number("wal_bytes_max")? {
        options = api!(StoreOptions::wal_bytes_max(options, bytes));
    }
    if let Some(allow) = step.yes("allow_remote_file_system")? {
        options = api!(StoreOptions::allow_remote_file_system(options, allow));
    }
    if let Some(create) = step.yes("create")? {
        options = api!(StoreOptions::create(options, create));
    }
    let store = if plain { api!(Store::open(&path))? } else { api!(StoreOptions::open(options, &path))? };
    assert_eq!(api!(Store::path(&store)), path);
    world.stores.insert(name, store);
    Ok("ok".to_owned())
}

fn close(world: &mut World, step: &mut Step) -> Outcome {
    let store = world.store(step)?;
    api!(Store::close(store))?;
    Ok("ok".to_owned())
}

fn options(step: &mut Step) -> Outcome<Option<QueueOptions>> {
    let mut options = api!(QueueOptions::new());
    if let Some(lease) = step.duration("lease")? {
        options = api!(QueueOptions::lease(options, lease));
    }
    if let Some(word) = step.option("attempts_max") {
        let attempts = if word == "unlimited" { None } else { Some(number(&word)?) };
        options = api!(QueueOptions::attempts_max(options, attempts));
    }
    if let Some(backoff) = backoff(step)? {
        options = api!(QueueOptions::backoff(options, backoff));
    }
    if let Some(window) = window(step)? {
        options = api!(QueueOptions::deduplication_window(options, window));
    }
    if let Some(names) = step.option("subscriptions") {
        options = api!(QueueOptions::subscriptions(options, several(&names)));
    }
    Ok((options != QueueOptions::new()).then_some(options))
}

fn backoff(step: &mut Step) -> Outcome<Option<Backoff>> {
    let (first, factor) = (step.duration("backoff_first")?, step.number("backoff_factor")?);
    let (cap, jitter) = (step.duration("backoff_cap")?, step.number("backoff_jitter")?);
    let default = Backoff::default();
    Ok(match (first, factor, cap, jitter) {
        (None, None, None, None) => None,
        (Some(first), Some(1.0), Some(cap), Some(0.0)) if first == cap => Some(api!(Backoff::constant(first))),
        _ => Some(Backoff {
            first: first.unwrap_or(default.first),
            factor: factor.unwrap_or(default.factor),
            cap: cap.unwrap_or(default.cap),
            jitter: jitter.unwrap_or(default.jitter),
        }),
    })
}

fn number(word: &str) -> Outcome<u32> {
    word.parse().or_else(|_| mistake(format!("{word} is no number")))
}

/// Names between commas; `s#3` stands for s0, s1 and s2.
fn several(names: &str) -> Vec<String> {
    let one = |name: &str| match name.split_once('#') {
        Some((begin, count)) => (0..count.parse().expect("a count")).map(|index| format!("{begin}{index}")).collect(),
        None => vec![name.to_owned()],
    };
    names.split(',').flat_map(one).collect()
}

pub(crate) fn window(step: &mut Step) -> Outcome<Option<Window>> {
    Ok(match step.option("window").as_deref() {
        None => None,
        Some("forever") => Some(Window::Forever),
        Some(word) => Some(Window::For(duration(word)?)),
    })
}

fn queue(world: &mut World, step: &mut Step) -> Outcome {
    let word = step.word()?;
    let alias = step.option("as").unwrap_or_else(|| word.clone());
    let name = text(&word);
    let semantics = step.option("semantics").map(|name| name.parse::<Semantics>()).transpose()?;
    let options = options(step)?;
    let store = world.store(step)?;
    let queue = match (semantics, options) {
        (Some(semantics), Some(options)) => api!(Store::queue_with(store, &name, semantics, options))?,
        (Some(semantics), None) => api!(Store::queue(store, &name, semantics))?,
        (None, Some(options)) => api!(Store::open_queue_with(store, &name, options))?,
        (None, None) => api!(Store::open_queue(store, &name))?,
    };
    assert_eq!(api!(Queue::name(&queue)), name);
    assert!(semantics.is_none_or(|semantics| semantics == api!(Queue::semantics(&queue))));
    world.receivers.insert(alias, Receiver::Queue(queue));
    Ok("ok".to_owned())
}

fn settings(world: &mut World, step: &mut Step) -> Outcome {
    let name = step.word()?;
    let settings: QueueSettings = api!(Queue::settings(&world.queue(&name)?))?;
    let window = match settings.deduplication_window {
        Window::Forever => "forever".to_owned(),
        Window::For(window) => format!("{}ms", window.as_millis()),
    };
    Ok(format!(
        "{} lease={}ms attempts_max={} backoff={}ms,{},{}ms,{} window={window} paused={}",
        api!(Semantics::name(settings.semantics)),
        settings.lease.as_millis(),
        settings.attempts_max.map_or_else(|| "unlimited".to_owned(), |attempts| attempts.to_string()),
        settings.backoff.first.as_millis(),
        settings.backoff.factor,
        settings.backoff.cap.as_millis(),
        settings.backoff.jitter,
        show::yes(settings.paused),
    ))
}

fn store_stats(world: &mut World, step: &mut Step) -> Outcome {
    let stats = api!(Store::stats(world.store(step)?))?;
    let whole = stats.file_bytes > 0 && stats.wal_bytes > 0 && stats.sqlite_version.starts_with("3.");
    Ok(format!("queues={} in_doubt={} sizes={}", stats.queues, stats.in_doubt, show::yes(whole)))
}

/// The queue and the subscription of `queue/subscription`.
fn parts(word: &str) -> Outcome<(String, String)> {
    word.split_once('/').map_or_else(|| mistake("a subscription is queue/name"), |(a, b)| Ok((a.to_owned(), text(b))))
}

fn subscription(world: &mut World, verb: &str, step: &mut Step) -> Outcome {
    let word = step.word()?;
    let alias = step.option("as").unwrap_or_else(|| word.clone());
    let (queue, name) = parts(&word)?;
    let queue = world.queue(&queue)?;
    let start = match step.option("start").as_deref() {
        None | Some("now") => Start::Now,
        Some("oldest") => Start::Oldest,
        Some(other) => return mistake(format!("start is now or oldest, not {other}")),
    };
    let subscription = match (verb, name.as_str()) {
        ("subscribe", _) => api!(Queue::subscribe(&queue, &name, start))?,
        (_, "default") => api!(Queue::default_subscription(&queue))?,
        _ => api!(Queue::subscription(&queue, &name))?,
    };
    assert_eq!(api!(Subscription::name(&subscription)), name);
    assert_eq!(api!(Subscription::queue(&subscription)).name(), queue.name());
    world.receivers.insert(alias, Receiver::Subscription(subscription));
    Ok("ok".to_owned())
}

fn subscriptions(world: &mut World, step: &mut Step) -> Outcome {
    let name = step.word()?;
    Ok(show::texts(&api!(Queue::subscriptions(&world.queue(&name)?))?))
}

fn unsubscribe(world: &mut World, step: &mut Step) -> Outcome {
    let (queue, name) = parts(&step.word()?)?;
    api!(Queue::unsubscribe(&world.queue(&queue)?, &name))?;
    Ok("ok".to_owned())
}
