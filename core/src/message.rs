//! What is sent, and what is seen of it later: messages and their headers.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use crate::error::{Error, ErrorKind, Result};
use crate::limits::{DELAY_MAX, HEADERS_BYTES_MAX, PRIORITY_DEFAULT, PRIORITY_MAX};
use crate::types::{Millis, check_key, check_name};

/// The value of a header: text or bytes, and it comes back as what it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderValue {
    /// A string.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

impl HeaderValue {
    fn bytes(&self) -> &[u8] {
        match self {
            HeaderValue::Text(text) => text.as_bytes(),
            HeaderValue::Bytes(bytes) => bytes,
        }
    }
}

impl From<&str> for HeaderValue {
    fn from(text: &str) -> Self {
        HeaderValue::Text(text.to_owned())
    }
}

impl From<String> for HeaderValue {
    fn from(text: String) -> Self {
        HeaderValue::Text(text)
    }
}

impl From<Vec<u8>> for HeaderValue {
    fn from(bytes: Vec<u8>) -> Self {
        HeaderValue::Bytes(bytes)
    }
}

impl From<&[u8]> for HeaderValue {
    fn from(bytes: &[u8]) -> Self {
        HeaderValue::Bytes(bytes.to_vec())
    }
}

/// The headers of a message, by name.
pub type Headers = BTreeMap<String, HeaderValue>;

/// When a message is first offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Due {
    #[default]
    AtOnce,
    After(Duration),
    At(Millis),
}

/// A message to send. Build it from its body, then add what it needs.
///
/// ```
/// use std::time::Duration;
/// let message = onceward::Message::new("{\"order\": 42}")
///     .key("order-42")
///     .header("content-type", "application/json")
///     .delay(Duration::from_secs(30));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Message {
    pub(crate) body: Vec<u8>,
    pub(crate) key: Option<String>,
    pub(crate) headers: Headers,
    pub(crate) priority: Option<u8>,
    pub(crate) due: Due,
    pub(crate) time_to_live: Option<Duration>,
    pub(crate) ordering_key: Option<String>,
}

impl Message {
    /// A message with this body: any bytes, also none.
    pub fn new(body: impl Into<Vec<u8>>) -> Self {
        Message { body: body.into(), ..Message::default() }
    }

    /// Sets the deduplication key: a second send with it, within the queue's window, is the same message.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<HeaderValue>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// Sets the priority, 0 (taken first) to 9. Without one it is 4.
    #[must_use]
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Offers the message only after this delay, at most ten years.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.due = Due::After(delay);
        self
    }

    /// Offers the message only from this wall-clock time on. A time that has passed means at once; it may be ten years
    /// ahead at most.
    #[must_use]
    pub fn deliver_at(mut self, time: SystemTime) -> Self {
        self.due = Due::At(Millis::from(time));
        self
    }

    /// Dead-letters the message (at-most-once: drops it) when it was not finished this long after the send.
    #[must_use]
    pub fn time_to_live(mut self, time_to_live: Duration) -> Self {
        self.time_to_live = Some(time_to_live);
        self
    }

    /// Sets the ordering key: messages that share one are handed over in commit order, across retries.
    #[must_use]
    pub fn ordering_key(mut self, key: impl Into<String>) -> Self {
        self.ordering_key = Some(key.into());
        self
    }

    /// Checks every part against its limit. `body_bytes_max` is the store's, `now` the time it goes by.
    pub(crate) fn check(&self, body_bytes_max: usize, now: Millis) -> Result<()> {
        if self.body.len() > body_bytes_max {
            return Err(Error::invalid(format!("body is {} bytes; the limit is {body_bytes_max}", self.body.len())));
        }
        if let Some(key) = &self.key {
            check_key("key", key)?;
        }
        if let Some(key) = &self.ordering_key {
            check_key("ordering key", key)?;
        }
        self.check_priority()?;
        if let Due::After(delay) = self.due
            && delay > DELAY_MAX
        {
            return Err(Error::invalid(format!("delay is {delay:?}; the limit is {DELAY_MAX:?}")));
        }
        if let Due::At(time) = self.due
            && time > now.plus(DELAY_MAX)
        {
            return Err(Error::invalid(format!(
                "delivery time {} is {:?} from now; the limit is {DELAY_MAX:?}",
                time.get(),
                time.since(now)
            )));
        }
        if let Some(time_to_live) = self.time_to_live
            && (time_to_live.is_zero() || time_to_live > DELAY_MAX)
        {
            return Err(Error::invalid(format!("time to live is {time_to_live:?}; it takes 1ms to {DELAY_MAX:?}")));
        }
        self.check_headers()
    }

    fn check_priority(&self) -> Result<()> {
        match self.priority {
            Some(priority) if priority > PRIORITY_MAX => {
                Err(Error::invalid(format!("priority is {priority}; the limit is {PRIORITY_MAX}")))
            }
            Some(priority) if self.ordering_key.is_some() && priority != PRIORITY_DEFAULT => Err(Error::invalid(
                format!("priority {priority} and an ordering key exclude each other: order is commit order"),
            )),
            _ => Ok(()),
        }
    }

    fn check_headers(&self) -> Result<()> {
        let mut bytes = 0;
        for (name, value) in &self.headers {
            check_name("header name", name)?;
            bytes += name.len() + value.bytes().len();
        }
        if bytes > HEADERS_BYTES_MAX {
            return Err(Error::invalid(format!("headers are {bytes} bytes; the limit is {HEADERS_BYTES_MAX}")));
        }
        Ok(())
    }
}

impl<B: Into<Vec<u8>>> From<B> for Message {
    fn from(body: B) -> Self {
        Message::new(body)
    }
}

const TAG_TEXT: u8 = 0;
const TAG_BYTES: u8 = 1;

/// Headers as they stand in the file: per header a tag, two little-endian u32 lengths, the name, the value.
/// No headers are no bytes at all.
pub(crate) fn encode_headers(headers: &Headers) -> Option<Vec<u8>> {
    if headers.is_empty() {
        return None;
    }
    let mut out = Vec::new();
    for (name, value) in headers {
        out.push(match value {
            HeaderValue::Text(_) => TAG_TEXT,
            HeaderValue::Bytes(_) => TAG_BYTES,
        });
        out.extend_from_slice(&(name.len() as u32).to_le_bytes());
        out.extend_from_slice(&(value.bytes().len() as u32).to_le_bytes());
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(value.bytes());
    }
    Some(out)
}

/// The reverse of [`encode_headers`]. Anything else is a damaged file.
pub(crate) fn decode_headers(stored: Option<Cow<'_, [u8]>>) -> Result<Headers> {
    let mut headers = Headers::new();
    let Some(stored) = stored else { return Ok(headers) };
    let mut rest: &[u8] = &stored;
    while !rest.is_empty() {
        let (name, value, tail) = decode_one(rest).ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, format!("headers of {} bytes do not decode", stored.len()))
        })?;
        headers.insert(name, value);
        rest = tail;
    }
    Ok(headers)
}

fn decode_one(bytes: &[u8]) -> Option<(String, HeaderValue, &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (name_len, rest) = rest.split_first_chunk::<4>()?;
    let (value_len, rest) = rest.split_first_chunk::<4>()?;
    let (name, rest) = rest.split_at_checked(u32::from_le_bytes(*name_len) as usize)?;
    let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*value_len) as usize)?;
    let value = match *tag {
        TAG_TEXT => HeaderValue::Text(String::from_utf8(value.to_vec()).ok()?),
        TAG_BYTES => HeaderValue::Bytes(value.to_vec()),
        _ => return None,
    };
    Some((String::from_utf8(name.to_vec()).ok()?, value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_as_what_they_went() {
        let message = Message::new("x").header("text", "größe").header("bytes", vec![0u8, 255]).header("empty", "");
        let stored = encode_headers(&message.headers).expect("there are headers");
        assert_eq!(decode_headers(Some(Cow::Owned(stored.clone()))).expect("decodes"), message.headers);
        for cut in 1..stored.len() {
            if let Ok(part) = decode_headers(Some(Cow::Borrowed(&stored[..cut]))) {
                assert!(part.len() < message.headers.len(), "a cut encoding never passes for the whole");
            }
        }
        assert_eq!(encode_headers(&Headers::new()), None);
    }
}
