//! Cuts a stream into messages, and finds fields in them: as cheaply as can be, because what the
//! generator spends is part of every figure. It expects what the generator's own messages look
//! like after a gateway: no folded lines, `Content-Length` by its long name.

use memchr::memmem;

/// A whole message.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The start line and the fields, with the empty line at their end.
    pub head: &'a [u8],
    /// The body.
    pub body: &'a [u8],
}

/// What stands at the beginning is no message: the stream is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damaged;

/// A header longer than this is none of ours.
const LONGEST: usize = 4096;

/// The first message of `bytes` and its length; nothing while it is incomplete.
///
/// # Errors
/// No message of ours begins like this.
pub fn first(bytes: &[u8]) -> Result<Option<(Message<'_>, usize)>, Damaged> {
    let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
        return if bytes.len() > LONGEST {
            Err(Damaged)
        } else {
            Ok(None)
        };
    };
    let head = &bytes[..end + 4];
    if !head.first().is_some_and(u8::is_ascii_uppercase) {
        return Err(Damaged);
    }
    let length = field(head, "Content-Length").ok_or(Damaged)?;
    let length: usize = number(length).ok_or(Damaged)?;
    let total = head.len() + length;
    Ok(bytes
        .get(head.len()..total)
        .map(|body| (Message { head, body }, total)))
}

/// The value of the first field of this name.
pub fn field<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let found = memmem::find_iter(head, name.as_bytes()).find(|&at| {
        at >= 2 && head[at - 2..at] == *b"\r\n" && head.get(at + name.len()) == Some(&b':')
    })?;
    let value = &head[found + name.len() + 1..];
    let end = memchr::memchr(b'\r', value)?;
    Some(value[..end].trim_ascii())
}

/// The digits that `text` begins with.
pub fn number<N: std::str::FromStr>(text: &[u8]) -> Option<N> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit());
    std::str::from_utf8(&text[..end.unwrap_or(text.len())])
        .ok()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_ends_where_its_content_length_says() {
        let stream = b"BYE sip:a SIP/2.0\r\nCall-ID: 7@x\r\nContent-Length: 3\r\n\r\nabcACK";
        let (message, length) = first(stream).expect("whole").expect("complete");
        assert_eq!((message.body, length), (&b"abc"[..], stream.len() - 3));
        assert_eq!(field(message.head, "Call-ID"), Some(&b"7@x"[..]));
        assert_eq!(field(message.head, "ID"), None);
        assert!(first(&stream[..length - 1]).expect("a beginning").is_none());
    }

    #[test]
    fn a_stream_that_begins_in_the_middle_of_a_message_is_damaged() {
        assert!(first(b"ength: 3\r\nContent-Length: 0\r\n\r\n").is_err());
        assert!(first(b"BYE sip:a SIP/2.0\r\n\r\n").is_err());
    }
}
