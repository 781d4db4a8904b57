//! The messages that are measured.

/// The inside host, by its own address.
pub const PHONE: &str = "192.168.122.3";
/// What the outside knows it by.
pub const GATEWAY: &str = "10.1.1.1";
/// Whom it speaks with.
pub const SERVER: &str = "10.1.1.2";

/// How many different messages there are of each kind.
pub const DISTINCT: usize = 1024;

/// An INVITE of the shape of the reference document's: 376 bytes of headers, 133 of session
/// description. Each is of another call, with media ports of its own.
pub fn invite(call: usize) -> Vec<u8> {
    padded(&request(call, "INVITE", "", true), &session(PHONE, call))
}

/// The same with one field more, whose length differs from that in all those around it: it is like none
/// of them.
pub fn unlike(call: usize) -> Vec<u8> {
    let message = invite(call);
    let line = message.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (start, rest) = message.split_at(line + 1);
    let field = format!("X: {}\r\n", "x".repeat(1 + call % 59));
    [start, field.as_bytes(), rest].concat()
}

/// The 200 that the outside answers it with.
pub fn answer(call: usize) -> Vec<u8> {
    let head = response(call, "INVITE", true);
    padded(&head, &session(SERVER, call))
}

/// The BYE that ends the call, from the inside host.
pub fn bye(call: usize) -> Vec<u8> {
    padded(
        &request(call, "BYE", &format!(";tag=9{call:04}"), false),
        "",
    )
}

/// The 200 to that.
pub fn bye_answer(call: usize) -> Vec<u8> {
    padded(&response(call, "BYE", false), "")
}

/// A REGISTER of one of the users at the inside host.
pub fn register(user: usize) -> Vec<u8> {
    let head = format!(
        "REGISTER sip:{SERVER} SIP/2.0\r\n\
         Via: SIP/2.0/TCP {PHONE}:5060;branch=z9hG4bK-r{user:04}\r\n\
         From: <sip:{user:04}@{SERVER}>;tag={user:04}\r\nTo: <sip:{user:04}@{SERVER}>\r\n\
         Call-ID: r{user:04}@{PHONE}\r\nCSeq: 1 REGISTER\r\n\
         Contact: <sip:{user:04}@{PHONE}:5060>;expires=3600\r\nSubject: *\r\n"
    );
    padded(&head, "")
}

/// The 200 that the registrar answers it with.
pub fn registered(user: usize) -> Vec<u8> {
    let head = format!(
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP {GATEWAY}:5060;branch=z9hG4bK-r{user:04}\r\n\
         From: <sip:{user:04}@{SERVER}>;tag={user:04}\r\nTo: <sip:{user:04}@{SERVER}>;tag=9\r\n\
         Call-ID: r{user:04}@{PHONE}\r\nCSeq: 1 REGISTER\r\n\
         Contact: <sip:{user:04}@{GATEWAY}:5060>;expires=3600\r\nSubject: *\r\n"
    );
    padded(&head, "")
}

/// The session description of a host.
pub fn session(host: &str, call: usize) -> String {
    let port = 10_000 + 4 * call;
    let text = format!(
        "v=0\r\no=user1 53655765 2353687637 IN IP4 {host}\r\ns=*\r\nc=IN IP4 {host}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 0\r\n"
    );
    pad(&text, 133)
}

fn request(call: usize, method: &str, to_tag: &str, described: bool) -> String {
    format!(
        "{method} sip:service@{SERVER}:5060 SIP/2.0\r\n\
         Via: SIP/2.0/TCP {PHONE}:5060;branch=z9hG4bK-{call:04}\r\n\
         From: sipp <sip:sipp@{PHONE}:5060>;tag={call:04}\r\n\
         To: sut <sip:service@{SERVER}:5060>{to_tag}\r\nCall-ID: {call:04}-1@{PHONE}\r\n\
         CSeq: 1 {method}\r\nContact: sip:sipp@{PHONE}:5060\r\nMax-Forwards: 70\r\n\
         Subject: *\r\n{}",
        content_type(described)
    )
}

fn response(call: usize, method: &str, described: bool) -> String {
    format!(
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP {GATEWAY}:5060;branch=z9hG4bK-{call:04}\r\n\
         From: sipp <sip:sipp@{GATEWAY}:5060>;tag={call:04}\r\n\
         To: sut <sip:service@{SERVER}:5060>;tag=9{call:04}\r\nCall-ID: {call:04}-1@{PHONE}\r\n\
         CSeq: 1 {method}\r\nContact: <sip:{SERVER}:5060;transport=TCP>\r\n\
         Subject: *\r\n{}",
        content_type(described)
    )
}

fn content_type(described: bool) -> &'static str {
    if described {
        "Content-Type: application/sdp\r\n"
    } else {
        ""
    }
}

/// The head with its Content-Length, padded to 376 bytes, and the body.
fn padded(head: &str, body: &str) -> Vec<u8> {
    let head = format!("{head}Content-Length: {}\r\n\r\n", body.len());
    (pad(&head, 376) + body).into_bytes()
}

/// Puts as much in the place of the asterisk as makes the text so long.
fn pad(text: &str, length: usize) -> String {
    text.replacen('*', &"x".repeat((length + 1).saturating_sub(text.len())), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_messages_have_the_lengths_of_the_references() {
        for call in [0, 7, DISTINCT - 1] {
            assert_eq!(session(PHONE, call).len(), 133);
            assert_eq!((invite(call).len(), answer(call).len()), (509, 509));
            assert_eq!((bye(call).len(), bye_answer(call).len()), (376, 376));
            assert_eq!((register(call).len(), registered(call).len()), (376, 376));
        }
    }
}
