//! How answers are written, the same in every language.

use onceward::{Delivery, HeaderValue, Headers, Peeked, Value};

use crate::step::{Outcome, mistake};
use crate::world::Names;

const LONG: usize = 32;

/// Bytes: as they are, in quotes where there are spaces, `x*N` for a long run of one letter, `hex:…` for anything else.
pub(crate) fn bytes(bytes: &[u8]) -> String {
    let plain = |byte: &u8| (b' '..=b'~').contains(byte) && *byte != b'"';
    match bytes {
        [] => "\"\"".to_owned(),
        [first, ..] if bytes.len() >= LONG && plain(first) && bytes.iter().all(|byte| byte == first) => {
            format!("{}*{}", char::from(*first), bytes.len())
        }
        _ if !bytes.iter().all(plain) => format!("hex:{}", hex(bytes)),
        _ if bytes.contains(&b' ') => format!("\"{}\"", String::from_utf8_lossy(bytes)),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut all, byte| {
        let _ = write!(all, "{byte:02x}");
        all
    })
}

pub(crate) fn text(text: Option<&str>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| bytes(text.as_bytes()))
}

pub(crate) fn yes(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

fn headers(headers: &Headers) -> String {
    let one = |(name, value): (&String, &HeaderValue)| match value {
        HeaderValue::Text(text) => format!("{name}:{}", bytes(text.as_bytes())),
        HeaderValue::Bytes(value) => format!("{name}:hex:{}", hex(value)),
    };
    let all: Vec<String> = headers.iter().map(one).collect();
    if all.is_empty() { "-".to_owned() } else { all.join(";") }
}

/// A value of SQLite, with the letter of its type.
pub(crate) fn value(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Integer(integer) => format!("i:{integer}"),
        Value::Real(real) => format!("r:{real}"),
        Value::Text(text) => format!("t:{}", bytes(text.as_bytes())),
        Value::Blob(blob) => format!("b:{}", hex(blob)),
    }
}

pub(crate) fn list(items: &[String]) -> String {
    if items.is_empty() { "none".to_owned() } else { items.join(" ") }
}

pub(crate) fn texts(items: &[String]) -> String {
    list(&items.iter().map(|item| bytes(item.as_bytes())).collect::<Vec<_>>())
}

/// The fields that `show` names, of something that has them.
pub(crate) fn fields(show: &str, field: impl Fn(&str) -> Option<String>) -> Outcome {
    let shown: Option<Vec<String>> = show.split(',').map(field).collect();
    shown.map_or_else(|| mistake(format!("there is no such field in {show}")), |shown| Ok(shown.join(",")))
}

pub(crate) fn delivery(names: &Names, show: &str, delivery: &Delivery) -> Outcome {
    fields(show, |field| {
        Some(match field {
            "body" => bytes(api!(Delivery::body(delivery))),
            "message" => names.of(api!(Delivery::id(delivery))),
            "attempt" => api!(Delivery::attempt(delivery)).to_string(),
            "key" => text(api!(Delivery::key(delivery))),
            "ordering_key" => text(api!(Delivery::ordering_key(delivery))),
            "priority" => api!(Delivery::priority(delivery)).to_string(),
            "headers" => headers(api!(Delivery::headers(delivery))),
            _ => return None,
        })
    })
}

pub(crate) fn seen(names: &Names, field: &str, seen: &Peeked) -> Option<String> {
    Some(match field {
        "body" => bytes(&seen.body),
        "message" => names.of(seen.id),
        "attempts" => seen.attempts.to_string(),
        "key" => text(seen.key.as_deref()),
        "ordering_key" => text(seen.ordering_key.as_deref()),
        "priority" => seen.priority.to_string(),
        "headers" => headers(&seen.headers),
        _ => return None,
    })
}
