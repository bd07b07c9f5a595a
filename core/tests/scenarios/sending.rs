//! Steps that send.

use onceward::{Message, Queue, Sent, Transaction};

use crate::step::{Outcome, Step, bytes, duration, text};
use crate::world::{Form, World, named};

pub(crate) fn take(world: &mut World, verb: &str, step: &mut Step) -> Option<Outcome> {
    Some(match verb {
        "send" => send(world, step),
        "send_many" => send_many(world, step),
        "tx_send" => tx_send(world, step),
        _ => return None,
    })
}

/// A body, or a body and a key: `hello/k1`.
fn message(word: &str, step: &mut Step) -> Outcome<Message> {
    let (body, key) = word.split_once('/').map_or((word, None), |(body, key)| (body, Some(key.to_owned())));
    let mut message = api!(Message::new(bytes(body)));
    if let Some(key) = key.or_else(|| step.option("key")) {
        message = api!(Message::key(message, text(&key)));
    }
    if let Some(key) = step.text("ordering_key") {
        message = api!(Message::ordering_key(message, key));
    }
    if let Some(priority) = step.number("priority")? {
        message = api!(Message::priority(message, priority));
    }
    if let Some(delay) = step.duration("delay")? {
        message = api!(Message::delay(message, delay));
    }
    if let Some(from_now) = step.option("deliver_in") {
        let now = now();
        let time = match from_now.strip_prefix('-') {
            Some(ago) => now - duration(ago)?,
            None => now + duration(&from_now)?,
        };
        message = api!(Message::deliver_at(message, time));
    }
    if let Some(time_to_live) = step.duration("time_to_live")? {
        message = api!(Message::time_to_live(message, time_to_live));
    }
    for (name, value) in step.options("header.") {
        message = if value.starts_with("hex:") {
            api!(Message::header(message, name, bytes(&value)))
        } else {
            api!(Message::header(message, name, text(&value)))
        };
    }
    Ok(message)
}

#[expect(clippy::disallowed_methods, reason = "the scenarios go by the real clock, as all languages but Rust must")]
fn now() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

fn sent(world: &mut World, name: Option<String>, sent: Sent) -> String {
    world.names.give(name, sent.id);
    if sent.duplicate { format!("duplicate {}", world.names.of(sent.id)) } else { "sent".to_owned() }
}

fn send(world: &mut World, step: &mut Step) -> Outcome {
    let name = step.word()?;
    let queue = world.queue(&name)?;
    let message = message(&step.word()?, step)?;
    let one = match world.form {
        Form::Plain => api!(Queue::send(&queue, message))?,
        Form::Other => world.runtime.block_on(api!(Queue::send_async(&queue, message)))?,
    };
    let name = step.option("as");
    Ok(sent(world, name, one))
}

fn send_many(world: &mut World, step: &mut Step) -> Outcome {
    let name = step.word()?;
    let queue = world.queue(&name)?;
    let words = step.repeated()?;
    let messages: Vec<Message> = words.iter().map(|word| message(word, step)).collect::<Outcome<_>>()?;
    let all = match world.form {
        Form::Plain => api!(Queue::send_many(&queue, messages))?,
        Form::Other => world.runtime.block_on(api!(Queue::send_many_async(&queue, messages)))?,
    };
    let begin = step.option("as");
    for (index, sent) in all.iter().enumerate() {
        world.names.give(begin.as_ref().map(|begin| format!("{begin}{}", index + 1)), sent.id);
    }
    let duplicates = all.iter().filter(|sent| sent.duplicate).count();
    Ok(format!("sent {} duplicates {duplicates}", all.len() - duplicates))
}

fn tx_send(world: &mut World, step: &mut Step) -> Outcome {
    let (transaction, queue) = (step.word()?, step.word()?);
    let queue = world.queue(&queue)?;
    let message = message(&step.word()?, step)?;
    let one = api!(Transaction::send(named(&mut world.transactions, &transaction)?, &queue, message))?;
    let name = step.option("as");
    Ok(sent(world, name, one))
}
