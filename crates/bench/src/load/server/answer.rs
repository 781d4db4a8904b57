//! The server's answers: the lines of the request that belong in them, and little else.

use crate::load::message::TO_TAG;
use memchr::{memchr, memmem};
use std::io::Write as _;
use std::net::SocketAddrV4;

/// Adds a 200 with a session description.
pub fn accept(head: &[u8], own: SocketAddrV4, media: SocketAddrV4, out: &mut Vec<u8>) {
    begin(head, out);
    let body = format!(
        "v=0\r\no=bob 1 1 IN IP4 {0}\r\ns=-\r\nc=IN IP4 {0}\r\nt=0 0\r\nm=audio {1} RTP/AVP 0\r\n",
        media.ip(),
        media.port()
    );
    // Writing to memory does not fail.
    _ = write!(
        out,
        "Contact: <sip:bob@{own};transport=tcp>\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
}

/// Adds a 200 without a body.
pub fn ok(head: &[u8], out: &mut Vec<u8>) {
    begin(head, out);
    out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
}

fn begin(head: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"SIP/2.0 200 OK\r\n");
    let registers = head.starts_with(b"REGISTER ");
    let mut rest = head;
    while let Some(end) = memchr(b'\n', rest) {
        let line = &rest[..=end];
        rest = &rest[end + 1..];
        let copied = match line.first() {
            Some(b'V') => line.starts_with(b"Via:"),
            Some(b'F') => line.starts_with(b"From:"),
            Some(b'R') => line.starts_with(b"Record-Route:"),
            Some(b'C') if line.starts_with(b"Contact:") => registers,
            Some(b'C') => line.starts_with(b"Call-ID:") || line.starts_with(b"CSeq:"),
            Some(b'E') => registers && line.starts_with(b"Expires:"),
            Some(b'T') if line.starts_with(b"To:") => {
                if memmem::find(line, b";tag=").is_none() {
                    out.extend_from_slice(line.trim_ascii_end());
                    out.extend_from_slice(TO_TAG.as_bytes());
                    out.extend_from_slice(b"\r\n");
                    continue;
                }
                true
            }
            _ => false,
        };
        if copied {
            out.extend_from_slice(line);
        }
    }
}
