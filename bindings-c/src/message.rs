//! Messages: what C sends, and what it sees of one.

use std::ffi::{CString, c_char, c_void};
use std::ptr;
use std::time::{Duration, UNIX_EPOCH};

use onceward::{Delivery, HeaderValue, Headers, Message, MessageId, Peeked};

use crate::border::{self, Options};
use crate::status::{Failure, Outcome, text};

/// The value of a header is bytes.
pub const ONCEWARD_HEADER_BYTES: i32 = 0;
/// The value of a header is text: UTF-8.
pub const ONCEWARD_HEADER_TEXT: i32 = 1;

/// A header of a message, given or seen. It comes back as what it went. Names and values together take 64 KiB at most.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct onceward_header {
    /// The name: UTF-8, ended by NUL, 1 to 512 bytes. (A name that holds a NUL, sent from another language, is seen up to it.)
    pub name: *const c_char,
    /// The value. Seen text is followed by a NUL that value_size does not count.
    pub value: *const c_void,
    /// How many bytes the value has.
    pub value_size: usize,
    /// ONCEWARD_HEADER_BYTES or ONCEWARD_HEADER_TEXT.
    pub value_type: i32,
}

/// A message to send. Set everything to zero, then size to sizeof(onceward_message), then what it needs. All of it is copied
/// during the call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct onceward_message {
    /// sizeof(onceward_message).
    pub size: usize,
    /// The body: any bytes; NULL for none.
    pub body: *const c_void,
    /// How many bytes the body has: at most 1 MiB, unless the store was opened with another limit.
    pub body_size: usize,
    /// The deduplication key, or NULL: a second send with it, within the queue's window, is the same message. Required on an
    /// exactly-once queue. 1 to 512 bytes.
    pub key: *const c_char,
    /// The ordering key, or NULL: messages that share one are handed over in commit order, across retries. 1 to 512 bytes.
    pub ordering_key: *const c_char,
    /// The headers; NULL for none.
    pub headers: *const onceward_header,
    /// How many headers there are.
    pub header_count: usize,
    /// Offers the message only after this many milliseconds, at most ten years; 0 for at once.
    pub delay_ms: i64,
    /// Offers the message only from this time on, in milliseconds since 1970; 0 for at once. Excludes delay_ms.
    pub deliver_at_ms: i64,
    /// Dead-letters the message (at-most-once: drops it) when it was not finished within this many milliseconds; 0 for never.
    pub time_to_live_ms: i64,
    /// Not zero when priority is set.
    pub has_priority: i32,
    /// The priority, 0 (taken first) to 9; 4 when it is not set. Excludes an ordering key, unless it is 4.
    pub priority: i32,
}

impl Options for onceward_message {
    const NAME: &'static str = "onceward_message";

    fn unset() -> Self {
        onceward_message {
            size: size_of::<Self>(),
            body: ptr::null(),
            body_size: 0,
            key: ptr::null(),
            ordering_key: ptr::null(),
            headers: ptr::null(),
            header_count: 0,
            delay_ms: 0,
            deliver_at_ms: 0,
            time_to_live_ms: 0,
            has_priority: 0,
            priority: 0,
        }
    }
}

/// Reads a message.
///
/// # Safety
/// `pointer` is as the header asks of a message.
pub(crate) unsafe fn read(pointer: *const onceward_message) -> Outcome<Message> {
    if pointer.is_null() {
        return Err(Failure::invalid("the message is NULL"));
    }
    // SAFETY: the caller's; the parts are what the structure says they are.
    let (given, body, key, ordering_key, headers) = unsafe {
        let given = border::options(pointer)?;
        (
            given,
            border::items("the body", given.body.cast::<u8>(), given.body_size)?,
            border::text_or_none("the key", given.key)?,
            border::text_or_none("the ordering key", given.ordering_key)?,
            border::items("headers", given.headers, given.header_count)?,
        )
    };
    let mut message = Message::new(body);
    if let Some(key) = key {
        message = message.key(key);
    }
    if let Some(key) = ordering_key {
        message = message.ordering_key(key);
    }
    for header in headers {
        // SAFETY: as above.
        let (name, value) = unsafe { read_header(header) }?;
        message = message.header(name, value);
    }
    if given.has_priority != 0 {
        let priority = u8::try_from(given.priority)
            .map_err(|_| Failure::invalid(format!("priority is {}; it takes 0 to 9", given.priority)))?;
        message = message.priority(priority);
    }
    if let Some(time_to_live) = border::duration("time_to_live_ms", given.time_to_live_ms)? {
        message = message.time_to_live(time_to_live);
    }
    match (border::duration("delay_ms", given.delay_ms)?, given.deliver_at_ms) {
        (None, 0) => Ok(message),
        (Some(delay), 0) => Ok(message.delay(delay)),
        (None, at) => {
            let since = Duration::from_millis(at.unsigned_abs());
            let time = if at < 0 { UNIX_EPOCH.checked_sub(since) } else { UNIX_EPOCH.checked_add(since) };
            let time = time.ok_or_else(|| Failure::invalid(format!("deliver_at_ms is {at}; there is no such time")))?;
            Ok(message.deliver_at(time))
        }
        (Some(_), _) => Err(Failure::invalid("delay_ms and deliver_at_ms are both set")),
    }
}

/// # Safety
/// The header's pointers are what its fields say.
unsafe fn read_header(header: &onceward_header) -> Outcome<(&str, HeaderValue)> {
    // SAFETY: the caller's.
    let (name, value) = unsafe {
        (
            border::text("a header's name", header.name)?,
            border::items("a header's value", header.value.cast::<u8>(), header.value_size)?,
        )
    };
    let value = match header.value_type {
        ONCEWARD_HEADER_BYTES => HeaderValue::Bytes(value.to_vec()),
        ONCEWARD_HEADER_TEXT => match std::str::from_utf8(value) {
            Ok(text) => HeaderValue::Text(text.to_owned()),
            Err(_) => return Err(Failure::invalid(format!("the value of header {name:?} is not UTF-8"))),
        },
        other => return Err(Failure::invalid(format!("the type of header {name:?} is {other}; it takes 0 or 1"))),
    };
    Ok((name, value))
}

/// Reads messages that stand one after the other, each of the size that the first says.
///
/// # Safety
/// `pointer` points to `count` messages as the header asks of them.
pub(crate) unsafe fn read_many(pointer: *const onceward_message, count: usize) -> Outcome<Vec<Message>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    if pointer.is_null() {
        return Err(Failure::invalid(format!("the messages are NULL, and {count} are announced")));
    }
    if count > onceward::limits::SEND_MESSAGES_MAX {
        let limit = onceward::limits::SEND_MESSAGES_MAX;
        return Err(Failure::invalid(format!("{count} messages in one call; the limit is {limit}")));
    }
    // SAFETY: the caller's: `options` checks the size that the first message starts with.
    let stride = unsafe { border::options(pointer) }?.size;
    let mut messages = Vec::with_capacity(count);
    for index in 0..count {
        let one = pointer.wrapping_byte_add(stride * index);
        // SAFETY: the caller's: each is `stride` bytes after the one before.
        let (size, message) = unsafe { (border::options(one)?.size, read(one)) };
        if size != stride {
            return Err(Failure::invalid(format!("message {index} has the size {size}, and the first {stride}")));
        }
        messages.push(message.map_err(|failure| failure.within(&format!("message {index}")))?);
    }
    Ok(messages)
}

/// A message as it is seen. The pointers are the handle's that it was asked of, and live as long as that handle.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct onceward_message_view {
    /// The id: unique in the file, for ever, below 2^53.
    pub id: u64,
    /// The fencing token of this delivery; 0 for a message that is not in your hands.
    pub token: u64,
    /// The body, as it was sent. It is followed by no NUL.
    pub body: *const c_void,
    /// How many bytes the body has.
    pub body_size: usize,
    /// The deduplication key it was sent with, or NULL.
    pub key: *const c_char,
    /// The ordering key it was sent with, or NULL.
    pub ordering_key: *const c_char,
    /// The headers, in the order of their names.
    pub headers: *const onceward_header,
    /// How many headers there are.
    pub header_count: usize,
    /// When it was sent, in milliseconds since 1970 by the sender's clock.
    pub sent_at_ms: i64,
    /// When the lease ends, in milliseconds since 1970, as of the receive; 0 for a message that is not in your hands.
    pub lease_expires_at_ms: i64,
    /// Which delivery this is, from 1; of a message that is not in your hands, how often it was delivered so far.
    pub attempt: u32,
    /// The priority, 0 (taken first) to 9.
    pub priority: u32,
}

/// A message, kept for views.
pub(crate) struct Content {
    view: onceward_message_view,
    /// What the view points to.
    _body: Vec<u8>,
    _kept: Option<Box<Kept>>,
}

/// What most messages have none of.
struct Kept {
    _keys: [Option<CString>; 2],
    _names: Vec<CString>,
    _values: Vec<Vec<u8>>,
    _headers: Vec<onceward_header>,
}

// SAFETY: the pointers of the view and of the headers lead into `_body` and `_kept`, which nobody changes and which go along.
unsafe impl Send for Content {}
// SAFETY: as above.
unsafe impl Sync for Content {}

struct Parts<'a> {
    id: MessageId,
    body: Vec<u8>,
    keys: [Option<&'a str>; 2],
    headers: &'a Headers,
    sent_at_ms: i64,
    priority: u8,
    attempt: u32,
}

impl Content {
    /// Of a delivery, of which the body is taken out.
    pub(crate) fn of_delivery(delivery: &mut Delivery) -> Self {
        let body = delivery.take_body();
        let mut content = Self::new(Parts {
            id: delivery.id(),
            body,
            keys: [delivery.key(), delivery.ordering_key()],
            headers: delivery.headers(),
            sent_at_ms: delivery.sent_at().get(),
            priority: delivery.priority(),
            attempt: delivery.attempt(),
        });
        content.view.token = delivery.token().get();
        content.view.lease_expires_at_ms = delivery.lease_expires_at().get();
        content
    }

    pub(crate) fn of_peeked(peeked: Peeked) -> Self {
        Self::new(Parts {
            id: peeked.id,
            body: peeked.body,
            keys: [peeked.key.as_deref(), peeked.ordering_key.as_deref()],
            headers: &peeked.headers,
            sent_at_ms: peeked.sent_at.get(),
            priority: peeked.priority,
            attempt: peeked.attempts,
        })
    }

    fn new(parts: Parts<'_>) -> Self {
        let Parts { id, body, keys, headers, sent_at_ms, priority, attempt } = parts;
        let mut view = onceward_message_view {
            id: id.get(),
            token: 0,
            body: body.as_ptr().cast(),
            body_size: body.len(),
            key: ptr::null(),
            ordering_key: ptr::null(),
            headers: ptr::null(),
            header_count: 0,
            sent_at_ms,
            lease_expires_at_ms: 0,
            attempt,
            priority: priority.into(),
        };
        let has_more = keys.iter().any(Option::is_some) || !headers.is_empty();
        let kept = has_more.then(|| Box::new(Kept::new(keys, headers, &mut view)));
        Content { view, _body: body, _kept: kept }
    }

    pub(crate) fn view(&self) -> &onceward_message_view {
        &self.view
    }
}

impl Kept {
    fn new(keys: [Option<&str>; 2], headers: &Headers, view: &mut onceward_message_view) -> Self {
        let keys = keys.map(|key| key.map(text));
        let names: Vec<CString> = headers.keys().map(|name| text(name.as_str())).collect();
        let values: Vec<Vec<u8>> = headers.values().map(bytes_and_nul).collect();
        let headers: Vec<onceward_header> = names
            .iter()
            .zip(&values)
            .zip(headers.values())
            .map(|((name, bytes), value)| onceward_header {
                name: name.as_ptr(),
                value: bytes.as_ptr().cast(),
                value_size: bytes.len() - 1,
                value_type: match value {
                    HeaderValue::Text(_) => ONCEWARD_HEADER_TEXT,
                    HeaderValue::Bytes(_) => ONCEWARD_HEADER_BYTES,
                },
            })
            .collect();
        [view.key, view.ordering_key] =
            [0, 1].map(|index: usize| keys[index].as_ref().map_or(ptr::null(), |key| key.as_ptr()));
        (view.headers, view.header_count) = (headers.as_ptr(), headers.len());
        Kept { _keys: keys, _names: names, _values: values, _headers: headers }
    }
}

/// The value's bytes and a NUL: for text that is printed as it stands.
fn bytes_and_nul(value: &HeaderValue) -> Vec<u8> {
    let bytes = match value {
        HeaderValue::Text(text) => text.as_bytes(),
        HeaderValue::Bytes(bytes) => bytes,
    };
    let mut out = Vec::with_capacity(bytes.len() + 1);
    out.extend_from_slice(bytes);
    out.push(0);
    out
}

/// Reads the id of a message.
pub(crate) fn id(value: u64) -> Outcome<MessageId> {
    MessageId::new(value).map_err(Failure::from)
}
