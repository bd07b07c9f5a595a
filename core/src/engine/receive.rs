//! Receiving: what is offered, in which order, and under which lease.
//!
//! Lanes are taken in the order of their priority. Within a lane, what is due among the pending intervals comes first,
//! then what the cursor has not looked at yet. Everything taken in one receive is one batch under one lease.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::delivery::RawDelivery;
use crate::engine::context::{Context, HandedOver, LaneEnd, Outcome, Terms, TokenUse, lane_of};
use crate::engine::operation::{Receive, Received, Settle, SubscriptionId, Verb};
use crate::engine::order::Retry;
use crate::engine::pending::{self, Death, PARKED, Pending};
use crate::engine::{order, settle, sql, sweep};
use crate::limits::RECEIVE_BYTES_MAX;
use crate::rules::interval::{self, Interval};
use crate::rules::{isolation, verdict};
use crate::semantics::Semantics;
use crate::types::{MessageId, Millis, Token};

/// Rows of one read that room is made for.
const ROWS_EXPECTED: usize = 1_000;
/// Due intervals looked at in one go.
const DUE_ROWS: i64 = 256;
/// Messages that one receive looks at beyond those it may take: delayed, expired and blocked ones only move the cursor.
const SCAN_MAX: usize = 10_000;
/// Tokens reserved, durably, at a time: after a power loss the next token is past every one ever handed out.
const TOKENS_RESERVED: i64 = 1 << 16;

/// The reason kept with a message that was not finished in time.
pub(crate) const REASON_EXPIRED: &str = "expired: the time to live ran out";
/// The reason kept with a message whose attempts are used up and whose holder was lost.
pub(crate) const REASON_HOLDER_LOST: &str = "attempts exhausted: its holder died or let the lease expire";

pub(crate) fn receive(cx: &mut Context<'_>, receive: &Receive) -> Outcome<Received> {
    let terms = cx.terms(receive.subscription)?;
    let mut lost = Vec::new();
    if !receive.folded.is_empty() {
        let receipts = receive.folded.clone();
        lost = settle::settle(cx, &Settle { subscription: receive.subscription, verb: Verb::Ack, receipts })?;
    }
    if terms.paused || receive.max == 0 {
        return Ok(Received { lost, ..Received::default() });
    }
    let mut batch = Batch::new(terms, receive.lease, receive.max, cx.now);
    batch.fill(cx)?;
    if batch.deliveries.is_empty() && sweep::reclaim_dead(cx)? {
        batch.fill(cx)?;
    }
    let may_be_early = batch.terms.semantics == Semantics::AtLeastOnce;
    for delivery in &batch.deliveries {
        let (id, early) = (delivery.id.stored(), may_be_early && delivery.key.is_none());
        let same = |one: &&mut HandedOver| one.lane == lane_of(id) && one.early == early;
        match cx.commit.handed_over.iter_mut().find(same) {
            Some(one) => one.id = id.max(one.id),
            None => cx.commit.handed_over.push(HandedOver { lane: lane_of(id), id, early }),
        }
    }
    let next_due = if batch.deliveries.is_empty() { batch.next_due } else { None };
    cx.commit.needs_sync |= !batch.deliveries.is_empty() && batch.terms.semantics.syncs_receive();
    Ok(Received { deliveries: batch.deliveries, lost, next_due })
}

/// A lane as the subscription sees it.
#[derive(Debug)]
struct Cursor {
    lane: i64,
    priority: u8,
    next: i64,
    lane_next: i64,
    gaps: i64,
    token: i64,
    token_reserved: i64,
    reserved: i64,
    /// The token of this receive, once something was taken from the lane.
    given: Option<Token>,
    moved: bool,
}

/// A row of the log.
#[derive(Debug)]
struct Row {
    id: i64,
    sent_at: i64,
    due_at: Option<i64>,
    expires_at: Option<i64>,
    key: Option<String>,
    ordering_key: Option<String>,
    headers: Option<Vec<u8>>,
    body: Vec<u8>,
}

/// The batch being put together.
struct Batch {
    terms: Arc<Terms>,
    max: usize,
    lease_ends: Millis,
    bytes: usize,
    deliveries: Vec<RawDelivery>,
    /// How many of each ordering key are in the batch.
    keys: HashMap<String, usize>,
    /// Nothing more may be added.
    closed: bool,
    scanned: usize,
    next_due: Option<Millis>,
    /// Nothing is taken: what is looked at is set aside.
    aside: bool,
}

/// Moves the cursor of a lane over a bounded number of messages without taking any: what is ready waits as a pending
/// interval, what has expired is dead. Returns where the cursor stands.
pub(crate) fn set_aside(cx: &mut Context<'_>, subscription: SubscriptionId, lane: i64, limit: i64) -> Outcome<i64> {
    let terms = cx.terms(subscription)?;
    let mut batch = Batch::new(terms, None, 0, cx.now);
    batch.aside = true;
    let Some(mut cursor) = cursors(cx, subscription)?.into_iter().find(|cursor| cursor.lane == lane) else {
        return Ok(i64::MAX);
    };
    let span = Interval::new(cursor.next, cursor.lane_next);
    let rows = read_rows(cx, sql::MESSAGE_HEADS_BETWEEN, span, limit)?;
    batch.look_at(cx, &mut cursor, rows, limit)?;
    batch.write_cursor(cx, &cursor)?;
    Ok(cursor.next)
}

impl Batch {
    fn new(terms: Arc<Terms>, lease: Option<Duration>, max: usize, now: Millis) -> Self {
        let lease_ends = match lease {
            Some(lease) => now.plus(lease),
            None => Millis::new(now.get().saturating_add(terms.lease_ms)),
        };
        Batch {
            terms,
            max,
            lease_ends,
            bytes: 0,
            deliveries: Vec::new(),
            keys: HashMap::new(),
            closed: false,
            scanned: 0,
            next_due: None,
            aside: false,
        }
    }

    fn fill(&mut self, cx: &mut Context<'_>) -> Outcome<()> {
        self.next_due = None;
        for mut cursor in cursors(cx, self.terms.subscription)? {
            let Cursor { lane, lane_next: end, reserved, .. } = cursor;
            cx.commit.lane_ends.push(LaneEnd { lane, end, reserved });
            self.take_due(cx, &mut cursor)?;
            if !self.closed {
                self.take_unseen(cx, &mut cursor)?;
            }
            self.write_cursor(cx, &cursor)?;
            if self.closed {
                break;
            }
            if self.deliveries.is_empty() {
                self.note_next_due(cx, &cursor)?;
            }
        }
        Ok(())
    }

    fn room(&self) -> usize {
        self.max - self.deliveries.len()
    }

    /// Remembers when the lane has something due, for a receiver that found nothing.
    fn note_next_due(&mut self, cx: &Context<'_>, cursor: &Cursor) -> Outcome<()> {
        let params = (self.terms.subscription.0, cursor.lane, cx.now.get());
        let mut due = None;
        for sql in [sql::PENDING_NEXT_WAITING, sql::PENDING_NEXT_LEASED] {
            let next = cx.row(sql, params, |row| row.get::<_, Option<i64>>(0))?.flatten();
            due = due.into_iter().chain(next).min();
        }
        let due = if cursor.next < cursor.lane_next { Some(cx.now.get()) } else { due };
        if let Some(due) = due.filter(|due| *due != PARKED) {
            let due = Millis::new(due);
            self.next_due = Some(self.next_due.map_or(due, |earlier| earlier.min(due)));
        }
        Ok(())
    }

    fn take_due(&mut self, cx: &mut Context<'_>, cursor: &mut Cursor) -> Outcome<()> {
        while !self.closed {
            // With ordering keys, taking one interval may change the others: they are read one at a time.
            let rows = if self.terms.ordered { 1 } else { DUE_ROWS };
            let due = pending::due(cx.connection(), self.terms.subscription.0, cursor.lane, cx.now.get(), rows)?;
            // What is looked at leaves the due ones, and may make others due: messages behind it in line.
            let none = due.is_empty();
            for held in due {
                if self.closed {
                    break;
                }
                self.take_pending(cx, cursor, held)?;
            }
            if none {
                break;
            }
            if self.scanned >= SCAN_MAX + self.max {
                self.closed = true;
                self.next_due = Some(cx.now);
            }
        }
        Ok(())
    }

    /// Takes as much of a due interval as may be taken.
    fn take_pending(&mut self, cx: &mut Context<'_>, cursor: &mut Cursor, held: Pending) -> Outcome<()> {
        let subscription = self.terms.subscription;
        let lost = held.owner.is_some();
        if !verdict::may_retry(held.attempt, self.terms.attempts_max) {
            cx.run(sql::PENDING_DELETE, (subscription.0, held.span.lo))?;
            let error = held.error.as_deref();
            let death = Death { attempts: held.attempt, reason: REASON_HOLDER_LOST, error };
            return pending::bury(cx, &self.terms, held.span, &death);
        }
        let piece = if lost {
            let left = self.terms.attempts_max.map(|max| max.saturating_sub(held.attempt));
            Some(isolation::piece(held.span.len(), left))
        } else {
            held.piece
        };
        if piece.is_some() && !self.deliveries.is_empty() {
            // What may hold a poison message is handed over alone: the next receive begins with it.
            self.closed = true;
            return Ok(());
        }
        let held = Pending { piece, ..held.released() };
        let lost_in_line = lost && self.terms.ordered;
        cx.run(sql::PENDING_DELETE, (subscription.0, held.span.lo))?;
        if lost_in_line {
            order::retrying(cx, &self.terms, held.span, Retry::HolderLost)?;
        }
        let take = held.span.len().min(piece.unwrap_or(i64::MAX)).min(self.room() as i64);
        let part = Interval::new(held.span.lo, held.span.lo + take);
        let Rows { rows, cut_at } = read_rows(cx, sql::MESSAGES_BETWEEN, part, take)?;
        self.scanned += rows.len();
        let stopped = self.take_rows(cx, cursor, &held, rows)?;
        let end = stopped.or(cut_at).unwrap_or(part.hi);
        if end < held.span.hi {
            pending::insert(cx, subscription, &held.of(Interval::new(end, held.span.hi)))?;
        }
        self.closed |= piece.is_some() && !self.deliveries.is_empty();
        self.closed |= self.room() == 0;
        Ok(())
    }

    /// Takes the messages of an interval that is out of the table. Returns where it stopped, if it did not reach the end.
    fn take_rows(
        &mut self,
        cx: &mut Context<'_>,
        cursor: &mut Cursor,
        held: &Pending,
        rows: Vec<Row>,
    ) -> Outcome<Option<i64>> {
        let subscription = self.terms.subscription;
        let (mut taken, mut parked) = (Vec::new(), Vec::new());
        let mut stopped = None;
        for row in rows {
            if row.expires_at.is_some_and(|at| at <= cx.now.get()) {
                let death = Death { attempts: held.attempt, reason: REASON_EXPIRED, error: held.error.as_deref() };
                pending::bury(cx, &self.terms, Interval::one(row.id), &death)?;
            } else if !self.may_take_in_order(cx, &row)? {
                parked.push((row.id, row.ordering_key.unwrap_or_default()));
            } else if self.is_heavy(&row) {
                stopped = Some(row.id);
                break;
            } else {
                taken.push(row.id);
                self.add(cursor, row, held.attempt + 1);
            }
        }
        for (id, key) in parked {
            pending::insert(cx, subscription, &held.of(Interval::one(id)).parked(cx.now.get()))?;
            order::release_head(cx, &self.terms, &key)?;
        }
        let ordered: Vec<String> = if self.terms.ordered { self.keys.keys().cloned().collect() } else { Vec::new() };
        self.lease(cx, cursor, taken, held.attempt + 1, held.error.as_deref())?;
        if held.piece.is_none() && stopped.is_none() {
            for key in ordered {
                self.take_followers(cx, cursor, &key)?;
            }
        }
        Ok(stopped)
    }

    /// Takes the parked messages behind those of their key that are in the batch, as far as there is room.
    fn take_followers(&mut self, cx: &mut Context<'_>, cursor: &mut Cursor, key: &str) -> Outcome<()> {
        let subscription = self.terms.subscription;
        while self.room() > 0 {
            let place = self.keys.get(key).copied().unwrap_or(0);
            let Some(id) = order::nth(cx, subscription, key, place)? else { break };
            let Some(held) = pending::holding(cx, subscription, id)? else { break };
            let waits = held.ready_at.is_some_and(|at| at > cx.now.get());
            if held.due_at != PARKED || waits || held.piece.is_some() || lane_of(id) != cursor.lane {
                break;
            }
            let part = Interval::one(id);
            let Some(row) = read_rows(cx, sql::MESSAGES_BETWEEN, part, 1)?.rows.pop() else { break };
            if row.expires_at.is_some_and(|at| at <= cx.now.get()) || self.is_heavy(&row) {
                break;
            }
            pending::cut(cx, subscription, &held, part)?;
            self.add(cursor, row, held.attempt + 1);
            self.lease(cx, cursor, vec![id], held.attempt + 1, held.error.as_deref())?;
        }
        Ok(())
    }

    fn take_unseen(&mut self, cx: &mut Context<'_>, cursor: &mut Cursor) -> Outcome<()> {
        while !self.closed && cursor.next < cursor.lane_next {
            let limit = self.room() as i64;
            let span = Interval::new(cursor.next, cursor.lane_next);
            let rows = read_rows(cx, sql::MESSAGES_BETWEEN, span, limit)?;
            self.look_at(cx, cursor, rows, limit)?;
            if self.room() == 0 {
                self.closed = true;
            } else if self.scanned >= SCAN_MAX + self.max {
                self.closed = true;
                self.next_due = Some(cx.now);
            }
        }
        Ok(())
    }

    /// Moves the cursor over `rows`: takes them, or sets them aside.
    fn look_at(&mut self, cx: &mut Context<'_>, cursor: &mut Cursor, rows: Rows, limit: i64) -> Outcome<()> {
        let subscription = self.terms.subscription;
        let Rows { rows, cut_at } = rows;
        let all = (rows.len() as i64) < limit;
        self.scanned += rows.len();
        self.deliveries.reserve(if self.aside { 0 } else { rows.len() });
        let (mut taken, mut parked, mut delayed) = (Vec::with_capacity(rows.len()), Vec::new(), Vec::new());
        let mut seen = 0;
        let past_last = rows.last().map_or(cursor.lane_next, |row| row.id + 1);
        let mut end = cut_at.unwrap_or(if all { cursor.lane_next } else { past_last });
        for row in rows {
            let takes = row.due_at.is_none_or(|at| at <= cx.now.get());
            if takes && self.is_heavy(&row) {
                end = row.id;
                self.closed = true;
                break;
            }
            seen += 1;
            if row.expires_at.is_some_and(|at| at <= cx.now.get()) {
                let death = Death { attempts: 0, reason: REASON_EXPIRED, error: None };
                pending::bury(cx, &self.terms, Interval::one(row.id), &death)?;
                continue;
            }
            let in_order = self.may_enter_in_order(cx, &row)?;
            if let Some(key) = &row.ordering_key {
                order::enter(cx, subscription, key, row.id)?;
            }
            if !in_order {
                parked.push((row.id, row.due_at.unwrap_or(cx.now.get())));
            } else if let Some(due_at) = row.due_at.filter(|_| !takes) {
                delayed.push((row.id, due_at));
            } else if self.aside {
                delayed.push((row.id, cx.now.get()));
            } else {
                taken.push(row.id);
                self.add(cursor, row, 1);
            }
        }
        for (run, ready_at) in runs_by_due(&parked) {
            pending::insert(cx, subscription, &Pending::waiting(run, ready_at, 0).parked(cx.now.get()))?;
        }
        for (run, due_at) in runs_by_due(&delayed) {
            pending::insert(cx, subscription, &Pending::waiting(run, due_at, 0))?;
        }
        cursor.gaps = (cursor.gaps - (end - cursor.next - seen)).max(0);
        cursor.next = end;
        cursor.moved = true;
        self.lease(cx, cursor, taken, 1, None)
    }

    /// Whether a message would overfill a batch that has something already.
    fn is_heavy(&self, row: &Row) -> bool {
        !self.deliveries.is_empty() && self.bytes + row.body.len() > RECEIVE_BYTES_MAX
    }

    /// Whether everything of the message's key that is before it in line is in this batch.
    fn may_take_in_order(&self, cx: &Context<'_>, row: &Row) -> Outcome<bool> {
        let Some(key) = &row.ordering_key else { return Ok(true) };
        let place = self.keys.get(key).copied().unwrap_or(0);
        Ok(order::nth(cx, self.terms.subscription, key, place)? == Some(row.id))
    }

    /// The same for a message that is not in line yet.
    fn may_enter_in_order(&self, cx: &Context<'_>, row: &Row) -> Outcome<bool> {
        let Some(key) = &row.ordering_key else { return Ok(true) };
        let place = self.keys.get(key).copied().unwrap_or(0);
        Ok(order::nth(cx, self.terms.subscription, key, place)?.is_none())
    }

    fn add(&mut self, cursor: &mut Cursor, row: Row, attempt: u32) {
        let token = cursor.token();
        self.bytes += row.body.len();
        if let Some(key) = &row.ordering_key {
            *self.keys.entry(key.clone()).or_default() += 1;
        }
        self.deliveries.push(RawDelivery {
            id: MessageId::from_stored(row.id),
            token,
            attempt,
            priority: cursor.priority,
            sent_at: Millis::new(row.sent_at),
            lease_expires_at: self.lease_ends,
            key: row.key,
            ordering_key: row.ordering_key,
            headers: row.headers,
            body: row.body,
        });
    }

    /// Writes down that the taken ids are in flight; at most once, that they are done.
    fn lease(
        &mut self,
        cx: &mut Context<'_>,
        cursor: &mut Cursor,
        taken: Vec<i64>,
        attempt: u32,
        error: Option<&str>,
    ) -> Outcome<()> {
        let runs = interval::runs(taken);
        if runs.is_empty() {
            return Ok(());
        }
        cursor.moved = true;
        if self.terms.semantics == Semantics::AtMostOnce {
            for run in runs {
                pending::finish(cx, &self.terms, run)?;
            }
            // They have left their keys' lines.
            self.keys.clear();
            return Ok(());
        }
        for run in runs {
            let leased = Pending {
                span: run,
                due_at: self.lease_ends.get(),
                attempt,
                token: cursor.token(),
                owner: Some(cx.instance),
                piece: None,
                ready_at: None,
                error: error.map(str::to_owned),
            };
            pending::insert(cx, self.terms.subscription, &leased)?;
        }
        Ok(())
    }

    fn write_cursor(&self, cx: &mut Context<'_>, cursor: &Cursor) -> Outcome<()> {
        if !cursor.moved && cursor.given.is_none() {
            return Ok(());
        }
        let mut reserved = cursor.token_reserved;
        if cursor.token > reserved {
            reserved = cursor.token + TOKENS_RESERVED;
        }
        if let Some(token) = cursor.given {
            let (subscription, token) = (self.terms.subscription.0, token.stored());
            cx.commit.tokens.push(TokenUse { subscription, lane: cursor.lane, token, reserved });
        }
        cx.run(
            sql::CURSOR_UPDATE,
            (self.terms.subscription.0, cursor.lane, cursor.next, cursor.gaps, cursor.token, reserved),
        )?;
        Ok(())
    }
}

impl Cursor {
    /// The token of this receive's leases in this lane.
    fn token(&mut self) -> Token {
        *self.given.get_or_insert_with(|| {
            self.token += 1;
            Token::from_stored(self.token)
        })
    }
}

fn cursors(cx: &Context<'_>, subscription: SubscriptionId) -> Outcome<Vec<Cursor>> {
    Ok(cx.rows(sql::CURSORS, [subscription.0], |row| {
        Ok(Cursor {
            lane: row.get(0)?,
            priority: row.get(1)?,
            next: row.get(2)?,
            lane_next: row.get(3)?,
            gaps: row.get(4)?,
            token: row.get(5)?,
            token_reserved: row.get(6)?,
            reserved: row.get(7)?,
            given: None,
            moved: false,
        })
    })?)
}

/// Room for as many as will come, where they are not very many.
fn capacity(limit: i64) -> usize {
    usize::try_from(limit).map_or(0, |limit| limit.min(ROWS_EXPECTED))
}

/// Rows of the log, in order.
struct Rows {
    rows: Vec<Row>,
    /// Where reading stopped short of the limit and of the end, because the bodies were enough.
    cut_at: Option<i64>,
}

fn read_rows(cx: &Context<'_>, sql: &'static str, span: Interval, limit: i64) -> Outcome<Rows> {
    let mut statement = cx.statement(sql)?;
    let mut found = statement.query((span.lo, span.hi, limit))?;
    let mut rows: Vec<Row> = Vec::with_capacity(capacity(limit));
    let mut bytes = 0;
    while let Some(row) = found.next()? {
        if bytes > RECEIVE_BYTES_MAX {
            return Ok(Rows { rows, cut_at: Some(row.get(0)?) });
        }
        let row = Row {
            id: row.get(0)?,
            sent_at: row.get(1)?,
            due_at: row.get(2)?,
            expires_at: row.get(3)?,
            key: row.get(4)?,
            ordering_key: row.get(5)?,
            headers: row.get(6)?,
            body: row.get(7)?,
        };
        bytes += row.body.len();
        rows.push(row);
    }
    Ok(Rows { rows, cut_at: None })
}

/// Neighbours that fall due at the same time, as intervals.
fn runs_by_due(delayed: &[(i64, i64)]) -> Vec<(Interval, i64)> {
    let mut out: Vec<(Interval, i64)> = Vec::new();
    for &(id, due_at) in delayed {
        match out.last_mut() {
            Some((run, due)) if run.hi == id && *due == due_at => run.hi += 1,
            _ => out.push((Interval::one(id), due_at)),
        }
    }
    out
}
