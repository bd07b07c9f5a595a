//! Steps that receive, settle and consume.

use onceward::{
    ConsumeOptions, Consumer, Delivery, MessageId, Millis, Nack, Receipt, ReceiveOptions, StopHandle, Subscription,
    Token,
};

use crate::show;
use crate::step::{Outcome, Step, mistake, text};
use crate::world::{Form, Receiver, World, named};

pub(crate) fn take(world: &mut World, verb: &str, step: &mut Step) -> Option<Outcome> {
    Some(match verb {
        "receive" => receive(world, step),
        "receive_many" => receive_many(world, step),
        "ack" | "nack" | "dead_letter" | "release" | "extend" => settle(world, verb, step),
        "ack_many" | "nack_many" | "dead_letter_many" | "release_many" | "extend_many" => {
            settle_many(world, verb, step)
        }
        "settled" => delivery(world, step).map(|one| show::yes(api!(Delivery::is_settled(one)))),
        "newer" => newer(world, step),
        "receipt" => receipt(world, step),
        "consume" => consume(world, step),
        "next" => next(world, step),
        "drain" => drain(world, step),
        "flush" | "stop_consumer" | "end" => consumer(world, verb, step),
        _ => return None,
    })
}

fn delivery<'a>(world: &'a mut World, step: &mut Step) -> Outcome<&'a mut Delivery> {
    let name = step.word()?;
    named(&mut world.deliveries, &name)
}

/// Keeps a delivery under its name, and shows it.
fn keep(world: &mut World, name: Option<String>, show: &str, mut delivery: Delivery) -> Outcome {
    let shown = show::delivery(&world.names, show, &delivery)?;
    let (token, id) = (api!(Delivery::token(&delivery)), api!(Delivery::id(&delivery)));
    assert_eq!(api!(Delivery::receipt(&delivery)), Receipt { message: id, token });
    let (sent, ends) = (api!(Delivery::sent_at(&delivery)), api!(Delivery::lease_expires_at(&delivery)));
    assert_eq!(api!(Millis::plus(sent, api!(Millis::since(ends, sent)))), ends, "it was sent before its lease ends");
    assert_eq!(api!(Millis::new(api!(Millis::get(sent)))), sent);
    let _: &Subscription = api!(Delivery::subscription(&delivery));
    let body = api!(Delivery::body(&delivery)).to_vec();
    assert_eq!(api!(Delivery::take_body(&mut delivery)), body);
    if let Some(name) = name {
        world.deliveries.insert(name, delivery);
    }
    Ok(shown)
}

fn options(step: &mut Step, max: usize) -> Outcome<ReceiveOptions> {
    let mut options = api!(ReceiveOptions::new());
    options = api!(ReceiveOptions::max(options, max));
    if let Some(wait) = step.duration("wait")? {
        options = api!(ReceiveOptions::wait(options, wait));
    }
    if let Some(lease) = step.duration("lease")? {
        options = api!(ReceiveOptions::lease(options, lease));
    }
    Ok(options)
}

fn receive(world: &mut World, step: &mut Step) -> Outcome {
    let receiver = world.receiver(step)?;
    let (name, show) = (step.option("as"), step.option("show").unwrap_or_else(|| "body".to_owned()));
    let with_lease = step.option("lease");
    let received = if let Some(lease) = with_lease {
        let options = options(step, 1)?;
        let options = api!(ReceiveOptions::lease(options, crate::step::duration(&lease)?));
        on!(&receiver, receive_many(&options))?.pop()
    } else {
        let wait = step.duration("wait")?.unwrap_or_default();
        match world.form {
            Form::Plain => on!(&receiver, receive(wait))?,
            Form::Other => world.runtime.block_on(async { on_await!(&receiver, receive_async(wait)) })?,
        }
    };
    match received {
        Some(delivery) => keep(world, name, &show, delivery),
        None => Ok("empty".to_owned()),
    }
}

fn receive_many(world: &mut World, step: &mut Step) -> Outcome {
    let receiver = world.receiver(step)?;
    let max = step.number("max")?.unwrap_or(1);
    let (name, show) = (step.option("as"), step.option("show").unwrap_or_else(|| "body".to_owned()));
    let options = options(step, max)?;
    let received = match world.form {
        Form::Plain => on!(&receiver, receive_many(&options))?,
        Form::Other => world.runtime.block_on(async { on_await!(&receiver, receive_many_async(&options)) })?,
    };
    if show == "count" {
        return Ok(received.len().to_string());
    }
    let mut shown = Vec::new();
    for (index, delivery) in received.into_iter().enumerate() {
        shown.push(keep(world, name.as_ref().map(|name| format!("{name}{}", index + 1)), &show, delivery)?);
    }
    Ok(show::list(&shown))
}

fn nack_of(step: &mut Step) -> Outcome<Nack> {
    let mut nack = api!(Nack::new());
    if let Some(delay) = step.duration("delay")? {
        nack = api!(Nack::delay(nack, delay));
    }
    if let Some(error) = step.text("error") {
        nack = api!(Nack::error(nack, error));
    }
    Ok(nack)
}

fn settle(world: &mut World, verb: &str, step: &mut Step) -> Outcome {
    let delivery = delivery(world, step)?;
    match verb {
        "ack" => api!(Delivery::ack(delivery))?,
        "nack" => api!(Delivery::nack(delivery, &nack_of(step)?))?,
        "dead_letter" => api!(Delivery::dead_letter(delivery, &text(&step.needed("reason")?)))?,
        "release" => api!(Delivery::release(delivery))?,
        _ => {
            let lease = crate::step::duration(&step.needed("lease")?)?;
            api!(Delivery::extend(delivery, lease))?;
        }
    }
    Ok("ok".to_owned())
}

fn settle_many(world: &mut World, verb: &str, step: &mut Step) -> Outcome {
    let receiver = world.receiver(step)?;
    let words = step.repeated()?;
    let receipts = world.receipts_of(&words)?;
    let lost = match (verb, world.form, &receiver) {
        ("ack_many", Form::Other, Receiver::Subscription(one)) => {
            world.runtime.block_on(api!(Subscription::ack_async(one, &receipts)))
        }
        ("ack_many", ..) => on!(&receiver, ack(&receipts)),
        ("nack_many", Form::Other, Receiver::Subscription(one)) => {
            let nack = nack_of(step)?;
            world.runtime.block_on(api!(Subscription::nack_async(one, &receipts, &nack)))
        }
        ("nack_many", ..) => {
            let nack = nack_of(step)?;
            on!(&receiver, nack(&receipts, &nack))
        }
        ("dead_letter_many", Form::Other, Receiver::Subscription(one)) => {
            let reason = text(&step.needed("reason")?);
            world.runtime.block_on(api!(Subscription::dead_letter_async(one, &receipts, &reason)))
        }
        ("dead_letter_many", ..) => {
            let reason = text(&step.needed("reason")?);
            on!(&receiver, dead_letter(&receipts, &reason))
        }
        ("release_many", Form::Other, Receiver::Subscription(one)) => {
            world.runtime.block_on(api!(Subscription::release_async(one, &receipts)))
        }
        ("release_many", ..) => on!(&receiver, release(&receipts)),
        (_, Form::Other, Receiver::Subscription(one)) => {
            let lease = crate::step::duration(&step.needed("lease")?)?;
            world.runtime.block_on(api!(Subscription::extend_async(one, &receipts, lease)))
        }
        _ => {
            let lease = crate::step::duration(&step.needed("lease")?)?;
            on!(&receiver, extend(&receipts, lease))
        }
    }?;
    world.lost(&words, &lost)
}

/// Whether the second delivery has a larger token than the first.
fn newer(world: &mut World, step: &mut Step) -> Outcome {
    let receipts = world.receipts_of(&step.rest())?;
    let [old, new] = receipts.as_slice() else { return mistake("newer takes two deliveries") };
    Ok(show::yes(api!(Token::get(new.token)) > api!(Token::get(old.token))))
}

/// A receipt that is made up, of a message or of any number, and a token.
fn receipt(world: &mut World, step: &mut Step) -> Outcome {
    let name = step.word()?;
    let message = step.needed("message")?;
    let number = match world.names.id(&message) {
        Ok(id) => api!(MessageId::get(id)),
        Err(_) => message.parse().or_else(|_| mistake("message is a name or a number"))?,
    };
    let message = api!(MessageId::new(number))?;
    let token = api!(Token::new(step.number("token")?.unwrap_or(1)));
    world.receipts.insert(name, Receipt { message, token });
    Ok("ok".to_owned())
}

fn consumer_of(world: &mut World, step: &mut Step) -> Outcome<Consumer> {
    let receiver = world.receiver(step)?;
    let mut options = api!(ConsumeOptions::new());
    if let Some(batch) = step.number("batch")? {
        options = api!(ConsumeOptions::batch(options, batch));
    }
    if let Some(wait) = step.duration("wait")? {
        options = api!(ConsumeOptions::wait(options, wait));
    }
    if let Some(lease) = step.duration("lease")? {
        options = api!(ConsumeOptions::lease(options, lease));
    }
    let consumer = on!(&receiver, consume(options))?;
    let _: &Subscription = api!(Consumer::subscription(&consumer));
    Ok(consumer)
}

/// The loop that a worker is: takes and acknowledges everything, and ends.
fn drain(world: &mut World, step: &mut Step) -> Outcome {
    let mut bodies = Vec::new();
    for delivery in consumer_of(world, step)? {
        let delivery = delivery?;
        bodies.push(show::bytes(api!(Delivery::body(&delivery))));
        api!(Delivery::ack(&delivery))?;
    }
    Ok(show::list(&bodies))
}

fn consume(world: &mut World, step: &mut Step) -> Outcome {
    let consumer = consumer_of(world, step)?;
    let name = step.needed("as")?;
    world.consumers.insert(name, consumer);
    Ok("ok".to_owned())
}

fn next(world: &mut World, step: &mut Step) -> Outcome {
    let name = step.word()?;
    let (alias, show) = (step.option("as"), step.option("show").unwrap_or_else(|| "body".to_owned()));
    let form = world.form;
    let consumer = named(&mut world.consumers, &name)?;
    let next = match form {
        Form::Plain => consumer.next().transpose()?,
        Form::Other => api!(Consumer::receive(consumer, std::time::Duration::ZERO))?,
    };
    match next {
        Some(delivery) => keep(world, alias, &show, delivery),
        None => Ok("end".to_owned()),
    }
}

fn consumer(world: &mut World, verb: &str, step: &mut Step) -> Outcome {
    let name = step.word()?;
    let consumer = named(&mut world.consumers, &name)?;
    match verb {
        "flush" => api!(Consumer::flush(consumer))?,
        "stop_consumer" => {
            let handle = api!(Consumer::stop_handle(consumer));
            api!(StopHandle::stop(&handle));
            assert!(api!(Consumer::is_stopped(consumer)));
        }
        _ => {
            let consumer = world.consumers.remove(&name).expect("it was there");
            api!(Consumer::close(consumer))?;
        }
    }
    Ok("ok".to_owned())
}
