//! From an operation to what carries it out.

use crate::engine::context::{Context, Outcome};
use crate::engine::operation::{Operation, Reply};
use crate::engine::{clear, effect, letters, manage, receive, send, settle, sweep};

pub(crate) fn execute(cx: &mut Context<'_>, operation: &Operation) -> Outcome<Reply> {
    Ok(match operation {
        Operation::Send { queue, messages, .. } => Reply::Sent(send::send(cx, *queue, messages)?),
        Operation::Receive(wanted) => Reply::Received(receive::receive(cx, wanted)?),
        Operation::Settle(wanted) => Reply::Settled(settle::settle(cx, wanted)?),
        Operation::OpenQueue { name, semantics, options } => {
            let (id, semantics) = manage::open_queue(cx, name, *semantics, options)?;
            Reply::Queue { id, semantics }
        }
        Operation::Subscribe { queue, name, start } => {
            Reply::Subscription(manage::subscribe(cx, *queue, name, *start)?)
        }
        Operation::Unsubscribe { queue, name } => {
            manage::unsubscribe(cx, *queue, name)?;
            Reply::Done
        }
        Operation::SetPaused { queue, paused } => {
            manage::set_paused(cx, *queue, *paused)?;
            Reply::Done
        }
        Operation::Cancel { queue, message } => Reply::Flag(clear::cancel(cx, *queue, *message)?),
        Operation::Purge { queue } => Reply::Count(clear::purge(cx, *queue)?),
        Operation::ClearTrash => Reply::Flag(clear::clear_trash(cx)?),
        Operation::Redrive { subscription, letters } => Reply::Letters(letters::redrive(cx, *subscription, letters)?),
        Operation::PurgeDead { subscription, letters } => Reply::Letters(letters::purge(cx, *subscription, letters)?),
        Operation::Register { slot, process, only_one } => {
            Reply::Instance(sweep::register(cx, *slot, *process, *only_one)?)
        }
        Operation::Unregister => {
            sweep::unregister(cx)?;
            Reply::Done
        }
        Operation::Reclaim => Reply::Flag(sweep::reclaim_dead(cx)?),
        Operation::Expire { after } => Reply::Swept { next: sweep::expire(cx, *after)? },
        Operation::Effect(operation) => effect::execute(cx, operation)?,
        Operation::Absorb => Reply::Done,
        Operation::ForgetKeys => Reply::Count(sweep::forget_keys(cx)?),
    })
}
