//! Arguments and results: JavaScript's types here, the core's there. `lib/arguments.cjs` has checked the arguments' types.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use napi::bindgen_prelude::{Buffer, Float64Array, Uint8Array};
use napi_derive::napi;
use onceward::{HeaderValue, Headers, Message, MessageId, Receipt, Token};

use crate::work::Outcome;

/// A header: text or bytes.
#[napi(object)]
pub struct Header {
    pub name: String,
    pub text: Option<String>,
    pub bytes: Option<Buffer>,
}

/// A message to send.
#[napi(object)]
pub struct Outgoing {
    pub body: Uint8Array,
    pub key: Option<String>,
    pub headers: Option<Vec<Header>>,
    pub priority: Option<u32>,
    pub delay_ms: Option<f64>,
    pub deliver_at_ms: Option<f64>,
    pub time_to_live_ms: Option<f64>,
    pub ordering_key: Option<String>,
}

/// What a send brought.
#[napi(object)]
pub struct Sent {
    pub id: f64,
    pub duplicate: bool,
}

/// Id and token of a delivery.
#[napi(object)]
pub struct ReceiptData {
    pub id: f64,
    pub token: f64,
}

impl From<onceward::Sent> for Sent {
    fn from(sent: onceward::Sent) -> Self {
        Sent { id: number(sent.id.get()), duplicate: sent.duplicate }
    }
}

impl From<Receipt> for ReceiptData {
    fn from(receipt: Receipt) -> Self {
        ReceiptData { id: number(receipt.message.get()), token: number(receipt.token.get()) }
    }
}

impl From<Outgoing> for Message {
    fn from(given: Outgoing) -> Self {
        let mut message = Message::new(given.body.to_vec());
        for header in given.headers.unwrap_or_default() {
            message = match (header.text, header.bytes) {
                (Some(text), _) => message.header(header.name, text),
                (None, bytes) => message.header(header.name, bytes.map(Vec::from).unwrap_or_default()),
            };
        }
        if let Some(key) = given.key {
            message = message.key(key);
        }
        if let Some(priority) = given.priority {
            message = message.priority(u8::try_from(priority).unwrap_or(u8::MAX));
        }
        if let Some(delay) = given.delay_ms {
            message = message.delay(duration(delay));
        }
        if let Some(at) = given.deliver_at_ms {
            message = message.deliver_at(time(at));
        }
        if let Some(time_to_live) = given.time_to_live_ms {
            message = message.time_to_live(duration(time_to_live));
        }
        if let Some(key) = given.ordering_key {
            message = message.ordering_key(key);
        }
        message
    }
}

/// Milliseconds as a duration; what is longer than any becomes the longest, which every limit refuses.
pub(crate) fn duration(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1000.0).unwrap_or(Duration::MAX)
}

pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn time(ms: f64) -> SystemTime {
    // A time before the epoch has passed, as the epoch itself has; one past what the clock can say is refused as too far.
    let after = Duration::from_millis(ms.clamp(0.0, 8.64e15) as u64);
    UNIX_EPOCH.checked_add(after).unwrap_or(UNIX_EPOCH)
}

/// Ids, tokens and counts are below 2^53 and therefore exact.
pub(crate) fn number(value: u64) -> f64 {
    value as f64
}

pub(crate) fn headers(headers: &Headers) -> Option<Vec<Header>> {
    if headers.is_empty() {
        return None;
    }
    let entries = headers.iter().map(|(name, value)| match value {
        HeaderValue::Text(text) => Header { name: name.clone(), text: Some(text.clone()), bytes: None },
        HeaderValue::Bytes(bytes) => Header { name: name.clone(), text: None, bytes: Some(bytes.clone().into()) },
    });
    Some(entries.collect())
}

pub(crate) fn ids(ids: &[f64]) -> Outcome<Vec<MessageId>> {
    ids.iter().map(|id| Ok(MessageId::new(*id as u64)?)).collect()
}

/// Receipts, each an id and a token.
pub(crate) fn receipts(numbers: &[f64]) -> Outcome<Vec<Receipt>> {
    let receipt =
        |pair: &[f64]| Ok(Receipt { message: MessageId::new(pair[0] as u64)?, token: Token::new(pair[1] as u64) });
    numbers.chunks_exact(2).map(receipt).collect()
}

/// What sends brought: the ids, those of duplicates negative.
pub(crate) fn sent_numbers(sent: &[onceward::Sent]) -> Float64Array {
    let signed = |sent: &onceward::Sent| if sent.duplicate { -number(sent.id.get()) } else { number(sent.id.get()) };
    Float64Array::new(sent.iter().map(signed).collect())
}

pub(crate) fn receipt_data(receipts: Vec<Receipt>) -> Vec<ReceiptData> {
    receipts.into_iter().map(ReceiptData::from).collect()
}
