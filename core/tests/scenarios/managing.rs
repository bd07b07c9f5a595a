//! Steps that look at queues and manage them.

use onceward::{DeadLetter, Queue};

use crate::show;
use crate::step::{Outcome, Step};
use crate::world::{Receiver, World};

pub(crate) fn take(world: &mut World, verb: &str, step: &mut Step) -> Option<Outcome> {
    Some(match verb {
        "cancel" | "purge" | "pause" | "resume" | "paused" => whole(world, verb, step),
        "peek" => peek(world, step),
        "unfinished" => unfinished(world, step),
        "stats" => stats(world, step),
        "dead_letters" => dead_letters(world, step),
        "redrive" | "redrive_all" | "purge_dead" | "purge_dead_all" => letters(world, verb, step),
        _ => return None,
    })
}

fn whole(world: &mut World, verb: &str, step: &mut Step) -> Outcome {
    let name = step.word()?;
    let queue = world.queue(&name)?;
    match verb {
        "cancel" => {
            let message = world.names.id(&step.word()?)?;
            return Ok(show::yes(api!(Queue::cancel(&queue, message))?));
        }
        "purge" => return Ok(api!(Queue::purge(&queue))?.to_string()),
        "pause" => api!(Queue::pause(&queue))?,
        "resume" => api!(Queue::resume(&queue))?,
        _ => return Ok(show::yes(api!(Queue::is_paused(&queue))?)),
    }
    Ok("ok".to_owned())
}

fn peek(world: &mut World, step: &mut Step) -> Outcome {
    let receiver = world.receiver(step)?;
    let max = step.number("max")?.unwrap_or(1);
    let shown = step.option("show").unwrap_or_else(|| "body".to_owned());
    let seen = on!(&receiver, peek(max))?;
    let fields = seen.iter().map(|one| show::fields(&shown, |field| show::seen(&world.names, field, one)));
    Ok(show::list(&fields.collect::<Outcome<Vec<_>>>()?))
}

fn unfinished(world: &mut World, step: &mut Step) -> Outcome {
    let receiver = world.receiver(step)?;
    let ids = world.ids(&step.repeated()?)?;
    let left = on!(&receiver, unfinished(&ids))?;
    Ok(show::list(&left.into_iter().map(|id| world.names.of(id)).collect::<Vec<_>>()))
}

fn stats(world: &mut World, step: &mut Step) -> Outcome {
    let receiver = world.receiver(step)?;
    let stats = on!(&receiver, stats())?;
    Ok(format!(
        "ready={} delayed={} blocked={} in_flight={} dead={} in_doubt={} aged={}",
        stats.ready,
        stats.delayed,
        stats.blocked,
        stats.in_flight,
        stats.dead,
        stats.in_doubt,
        show::yes(stats.oldest_age.is_some()),
    ))
}

fn dead_letters(world: &mut World, step: &mut Step) -> Outcome {
    let receiver = world.receiver(step)?;
    let after = step.option("after").map(|name| world.names.id(&name)).transpose()?;
    let max = step.number("max")?.unwrap_or(100);
    let shown = step.option("show").unwrap_or_else(|| "body".to_owned());
    let letters = on!(&receiver, dead_letters(after, max))?;
    let field = |letter: &DeadLetter, field: &str| match field {
        "reason" => Some(show::bytes(letter.reason.as_bytes())),
        "error" => Some(show::text(letter.error.as_deref())),
        other => show::seen(&world.names, other, &letter.message),
    };
    let all = letters.iter().map(|letter| {
        assert!(letter.died_at >= letter.message.sent_at);
        show::fields(&shown, |name| field(letter, name))
    });
    Ok(show::list(&all.collect::<Outcome<Vec<_>>>()?))
}

fn letters(world: &mut World, verb: &str, step: &mut Step) -> Outcome {
    let receiver = world.receiver(step)?;
    let ids = world.ids(&step.repeated()?)?;
    let done = match verb {
        "redrive" => on!(&receiver, redrive(&ids)),
        "redrive_all" => on!(&receiver, redrive_all()),
        "purge_dead" => on!(&receiver, purge_dead(&ids)),
        _ => on!(&receiver, purge_dead_all()),
    }?;
    Ok(done.to_string())
}
