//! Before a call: whether it may be made, and the record that it starts.

use std::time::Duration;

use crate::engine::context::{Context, Outcome};
use crate::engine::effect::message::{self, held};
use crate::engine::effect::operation::{Answer, Begin, Disposal, EffectReply, Probed, Scope, label};
use crate::engine::effect::{OWNER_DIED, Row, check_registered, doubt, finish, get, is_alive};
use crate::engine::settle::check_queue;
use crate::engine::sql;
use crate::error::Error;
use crate::failpoint::failpoint;
use crate::rules::effect::{self, Known, OnUnknown, State, Verdict};

pub(super) fn begin(cx: &mut Context<'_>, begin: &Begin) -> Outcome<EffectReply> {
    check_current(cx, begin)?;
    let row = get(cx, begin.subject.key())?;
    check_request(begin, row.as_ref())?;
    let known = row.as_ref().map(|row| known(cx, row)).transpose()?;
    let verdict = effect::begin(known.as_ref(), begin.on_unknown, begin.idempotent_for);
    let Some(mut row) = row else { return call(cx, begin, None, false) };
    match verdict {
        Verdict::Call { unsure } => call(cx, begin, Some(&row), unsure),
        Verdict::Return => {
            // Another's record of it may not be on disk yet.
            cx.commit.needs_sync = true;
            let result = cx.row(sql::EFFECT_RESULT, [row.id], |row| row.get(0))?.unwrap_or_default();
            Ok(EffectReply::Result(result))
        }
        Verdict::Wait => {
            let disposal = message::give_back(cx, &begin.subject, None)?;
            Ok(EffectReply::Wait { process: row.process, disposal })
        }
        Verdict::Probe => {
            notice(cx, &mut row)?;
            Ok(EffectReply::Probe { doubt: row.doubt, asked: cx.clock.steady() })
        }
        Verdict::Park | Verdict::Fail => {
            notice(cx, &mut row)?;
            in_doubt(cx, begin, &row, begin.on_unknown)
        }
    }
}

/// The third party has answered. What it answered counts only if the doubt is still the one that it was asked about.
pub(super) fn probed(cx: &mut Context<'_>, probed: &Probed) -> Outcome<EffectReply> {
    let Probed { begin: wanted, doubt, asked, answer } = probed;
    let subject = &wanted.subject;
    let OnUnknown::Probe { settle } = wanted.on_unknown else {
        return Err(Error::invalid("a probe without a settle delay").into());
    };
    if !matches!(answer, Answer::Applied(_)) {
        check_current(cx, wanted)?;
    }
    // That it happened is known for good, also when a person has said otherwise meanwhile and nothing was called since.
    let counts = |state| match state {
        State::InDoubt => true,
        State::Intended => matches!(answer, Answer::Applied(_)),
        _ => false,
    };
    let row = get(cx, subject.key())?.filter(|row| row.doubt == *doubt && counts(row.state));
    let Some(row) = row else {
        // Somebody else has decided meanwhile.
        return begin(cx, wanted);
    };
    match answer {
        Answer::Applied(result) => {
            finish::done(cx, &wanted.subject, &row, result)?;
            failpoint("once-probed-in-commit");
            Ok(EffectReply::Result(result.clone()))
        }
        Answer::NotApplied => match effect::not_applied(asked.since(row.noticed), settle) {
            Ok(()) => call(cx, wanted, Some(&row), false),
            Err(left) => {
                let disposal = message::give_back(cx, subject, Some(left))?;
                Ok(EffectReply::Settling { left, disposal })
            }
        },
        Answer::Unknown(text) => {
            let row = Row { error: Some(text.clone()), ..row };
            in_doubt(cx, wanted, &row, OnUnknown::Park)
        }
    }
}

/// The delivery must still be the current one, and this store a living one.
fn check_current(cx: &mut Context<'_>, begin: &Begin) -> Outcome<()> {
    check_registered(cx)?;
    let Scope::Message { subscription, receipt } = begin.subject.scope else { return Ok(()) };
    let terms = cx.terms(subscription)?;
    check_queue(cx, terms.queue, receipt.message)?;
    match held(cx, subscription, receipt)? {
        Some(_) => Ok(()),
        None => Err(crate::delivery::lease_lost(receipt).into()),
    }
}

fn check_request(begin: &Begin, row: Option<&Row>) -> Outcome<()> {
    let stored = row.and_then(|row| row.request.as_deref());
    match (stored, &begin.request) {
        (Some(stored), Some(request)) if stored != request.as_slice() => {
            Err(Error::conflict(format!("{} stands for another request", label(&begin.subject))).into())
        }
        _ => Ok(()),
    }
}

fn known(cx: &Context<'_>, row: &Row) -> Outcome<Known> {
    let owner_alive = row.state == State::Started && is_alive(cx, row.owner)?;
    let wall = (cx.now >= row.called_at).then(|| cx.now.since(row.called_at));
    let steady = cx.clock.steady().since(row.called);
    Ok(Known {
        state: row.state,
        owner_alive,
        // Whichever clock says longer: a window that is thought open and is not lets a call happen twice.
        since_first_call: match steady {
            Some(steady) => Some(wall.map_or(steady, |wall| wall.max(steady))),
            None => wall,
        },
        idempotent: row.idempotent,
        expired: row.expires_at.is_some_and(|at| at <= cx.now.get()),
    })
}

/// Makes sure that it is written down that nobody knows, and since when by a clock of this start of the machine.
fn notice(cx: &mut Context<'_>, row: &mut Row) -> Outcome<()> {
    if row.state == State::Started {
        row.doubt = doubt(cx, row.id, OWNER_DIED)?;
        row.error = Some(OWNER_DIED.to_owned());
        return Ok(());
    }
    let now = cx.clock.steady();
    if now.since(row.noticed).is_none() {
        cx.run(sql::EFFECT_NOTICED, (row.id, now.boot, now.at.get()))?;
    }
    Ok(())
}

fn in_doubt(cx: &mut Context<'_>, begin: &Begin, row: &Row, on_unknown: OnUnknown) -> Outcome<EffectReply> {
    let text = row.error.clone().unwrap_or_default();
    let disposal = message::dispose(cx, &begin.subject, on_unknown, &text)?;
    // The doubt itself may be another's record.
    cx.commit.needs_sync = true;
    failpoint("once-doubt-in-commit");
    Ok(EffectReply::InDoubt { doubt: row.doubt, text, disposal })
}

/// Records that the call starts. It may be made when this is on disk.
fn call(cx: &mut Context<'_>, begin: &Begin, row: Option<&Row>, unsure: bool) -> Outcome<EffectReply> {
    let (now, steady) = (cx.now, cx.clock.steady());
    let request = begin.request.as_ref().map(<[u8; 16]>::as_slice);
    let idempotent = begin.idempotent_for.is_some() && row.is_none_or(|row| !unsure || row.idempotent);
    let Some(row) = row else {
        let (scope, message, name) = begin.subject.key();
        let (owner, ticket, process) = (cx.instance, begin.ticket, begin.process);
        let (at, boot, since) = (now.get(), steady.boot, steady.at.get());
        mark_queue(cx, begin)?;
        cx.run(
            sql::EFFECT_INSERT,
            (scope, message, name, owner, ticket, process, at, boot, since, request, idempotent),
        )?;
        cx.commit.needs_sync = true;
        failpoint("once-begin-in-commit");
        return Ok(EffectReply::Call);
    };
    // The window of a third party that recognises repetitions runs from the first call that may have happened.
    let (at, since) = if unsure { (row.called_at, row.called) } else { (now, steady) };
    cx.run(
        sql::EFFECT_START,
        (
            row.id,
            cx.instance,
            begin.ticket,
            begin.process,
            unsure,
            at.get(),
            since.boot,
            since.at.get(),
            request,
            idempotent,
        ),
    )?;
    cx.commit.needs_sync = true;
    failpoint("once-begin-in-commit");
    Ok(EffectReply::Call)
}

/// Notes that messages of the queue may have effects, so that those of others cost nothing.
fn mark_queue(cx: &mut Context<'_>, begin: &Begin) -> Outcome<()> {
    if let Scope::Message { subscription, .. } = begin.subject.scope {
        let terms = cx.terms(subscription)?;
        if !terms.effects {
            cx.run(sql::QUEUE_EFFECTS, [terms.queue.0])?;
            cx.queue_changed();
        }
    }
    Ok(())
}

impl Disposal {
    /// How long from `now` until the message is offered again, if it was given back.
    pub(crate) fn wait(self, now: crate::types::Millis) -> Option<Duration> {
        match self {
            Disposal::GivenBack { at } => Some(at.since(now)),
            _ => None,
        }
    }
}
