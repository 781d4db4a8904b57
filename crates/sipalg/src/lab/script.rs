//! The messages that the lab plays. Each is written once, with names in place of the phone's
//! addresses, and can be rendered as the phone writes it and as the outside must see it.

use super::media::Address;
use std::net::SocketAddrV4;

/// The phone's addresses as one side knows them: inside local or inside global.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Where the phone listens for SIP.
    pub sip: SocketAddrV4,
    /// Where the connection comes from that the message is on.
    pub flow: SocketAddrV4,
    /// Where the phone listens for media.
    pub media: Address,
}

/// A message with names for addresses: `{sip}`, `{flow}`, `{rtp}` and `{rtcp}`, alone for
/// `address:port`, or with `.ip` or `.port`. `{length}` is the length of the body.
pub type Script = &'static str;

/// The message as the side with this view sees it.
pub fn render(script: Script, view: &View) -> Vec<u8> {
    let mut text = script.replace('\n', "\r\n");
    let addresses = [
        ("sip", view.sip),
        ("flow", view.flow),
        ("rtp", view.media.rtp),
        ("rtcp", view.media.rtcp),
    ];
    for (name, address) in addresses {
        text = text
            .replace(&format!("{{{name}}}"), &address.to_string())
            .replace(&format!("{{{name}.ip}}"), &address.ip().to_string())
            .replace(&format!("{{{name}.port}}"), &address.port().to_string());
    }
    let body = text
        .split_once("\r\n\r\n")
        .map_or(0, |(_, body)| body.len());
    text.replace("{length}", &body.to_string()).into_bytes()
}

/// Cuts where a parser hurts: in the start line, in an address of a header, between CR and LF, in
/// the empty line, in an address of the body, before the last byte.
pub fn cuts(message: &[u8]) -> Vec<usize> {
    let find = |what: &[u8], from: usize| {
        let found = message[from..]
            .windows(what.len())
            .position(|window| window == what);
        found.map(|at| from + at)
    };
    let body = find(b"\r\n\r\n", 0).unwrap_or(0);
    let mut cuts = vec![10, body + 3, message.len() - 1];
    cuts.extend(find(b"192.168", 0).map(|at| at + 5));
    cuts.extend(find(b"\r\nMax", 0).map(|at| at + 1));
    cuts.extend(find(b"c=IN IP4 192", body).map(|at| at + 11));
    cuts.sort_unstable();
    cuts
}

/// The phone registers.
pub const REGISTER: Script = "\
REGISTER sip:10.1.1.2 SIP/2.0
Via: SIP/2.0/TCP {sip};branch=z9hG4bK-reg-1;rport
Max-Forwards: 70
From: <sip:alice@10.1.1.2>;tag=reg
To: <sip:alice@10.1.1.2>
Call-ID: registration-1@phone
CSeq: 1 REGISTER
Contact: <sip:alice@{sip};transport=tcp>
Expires: 600
Content-Length: 0

";

/// The registrar grants less than was asked for.
pub const REGISTERED: Script = "\
SIP/2.0 200 OK
Via: SIP/2.0/TCP {sip};branch=z9hG4bK-reg-1;rport={flow.port};received={flow.ip}
From: <sip:alice@10.1.1.2>;tag=reg
To: <sip:alice@10.1.1.2>;tag=registrar
Call-ID: registration-1@phone
CSeq: 1 REGISTER
Contact: <sip:alice@{sip};transport=tcp>;expires=120
Content-Length: 0

";

/// The phone takes its registration back.
pub const UNREGISTER: Script = "\
REGISTER sip:10.1.1.2 SIP/2.0
Via: SIP/2.0/TCP {sip};branch=z9hG4bK-reg-2;rport
Max-Forwards: 70
From: <sip:alice@10.1.1.2>;tag=reg
To: <sip:alice@10.1.1.2>
Call-ID: registration-1@phone
CSeq: 2 REGISTER
Contact: <sip:alice@{sip};transport=tcp>;expires=0
Content-Length: 0

";

/// The registrar has no contact left.
pub const UNREGISTERED: Script = "\
SIP/2.0 200 OK
Via: SIP/2.0/TCP {sip};branch=z9hG4bK-reg-2;rport={flow.port};received={flow.ip}
From: <sip:alice@10.1.1.2>;tag=reg
To: <sip:alice@10.1.1.2>;tag=registrar
Call-ID: registration-1@phone
CSeq: 2 REGISTER
Content-Length: 0

";

/// Messages of a call from outside, which ends it.
pub mod incoming {
    use super::Script;

    /// Bob calls the contact that the registrar knows.
    pub const INVITE: Script = "\
INVITE sip:alice@{sip};transport=tcp SIP/2.0
Via: SIP/2.0/TCP 10.1.1.2:5060;branch=z9hG4bK-in-1
Max-Forwards: 70
From: \"Bob\" <sip:bob@10.1.1.2>;tag=bob-1
To: <sip:alice@10.1.1.2>
Call-ID: call-1@outside
CSeq: 1 INVITE
Contact: <sip:bob@10.1.1.2:5060;transport=tcp>
Content-Type: application/sdp
Content-Length: {length}

v=0
o=bob 2890844526 1 IN IP4 10.1.1.2
s=-
c=IN IP4 10.1.1.2
t=0 0
m=audio 7078 RTP/AVP 0
a=rtpmap:0 PCMU/8000
";

    /// The phone rings.
    pub const RINGING: Script = "\
SIP/2.0 180 Ringing
Via: SIP/2.0/TCP 10.1.1.2:5060;branch=z9hG4bK-in-1
From: \"Bob\" <sip:bob@10.1.1.2>;tag=bob-1
To: <sip:alice@10.1.1.2>;tag=alice-1
Call-ID: call-1@outside
CSeq: 1 INVITE
Contact: <sip:alice@{sip};transport=tcp>
Content-Length: 0

";

    /// The phone answers.
    pub const OK: Script = "\
SIP/2.0 200 OK
Via: SIP/2.0/TCP 10.1.1.2:5060;branch=z9hG4bK-in-1
From: \"Bob\" <sip:bob@10.1.1.2>;tag=bob-1
To: <sip:alice@10.1.1.2>;tag=alice-1
Call-ID: call-1@outside
CSeq: 1 INVITE
Contact: <sip:alice@{sip};transport=tcp>
Content-Type: application/sdp
Content-Length: {length}

v=0
o=alice 53655765 1 IN IP4 {rtp.ip}
s=-
c=IN IP4 {rtp.ip}
t=0 0
m=audio {rtp.port} RTP/AVP 0
a=rtpmap:0 PCMU/8000
a=rtcp:{rtcp.port} IN IP4 {rtcp.ip}
";

    /// Bob confirms.
    pub const ACK: Script = "\
ACK sip:alice@{sip};transport=tcp SIP/2.0
Via: SIP/2.0/TCP 10.1.1.2:5060;branch=z9hG4bK-in-2
Max-Forwards: 70
From: \"Bob\" <sip:bob@10.1.1.2>;tag=bob-1
To: <sip:alice@10.1.1.2>;tag=alice-1
Call-ID: call-1@outside
CSeq: 1 ACK
Content-Length: 0

";

    /// Bob hangs up.
    pub const BYE: Script = "\
BYE sip:alice@{sip};transport=tcp SIP/2.0
Via: SIP/2.0/TCP 10.1.1.2:5060;branch=z9hG4bK-in-3
Max-Forwards: 70
From: \"Bob\" <sip:bob@10.1.1.2>;tag=bob-1
To: <sip:alice@10.1.1.2>;tag=alice-1
Call-ID: call-1@outside
CSeq: 2 BYE
Content-Length: 0

";

    /// The phone agrees.
    pub const BYE_OK: Script = "\
SIP/2.0 200 OK
Via: SIP/2.0/TCP 10.1.1.2:5060;branch=z9hG4bK-in-3
From: \"Bob\" <sip:bob@10.1.1.2>;tag=bob-1
To: <sip:alice@10.1.1.2>;tag=alice-1
Call-ID: call-1@outside
CSeq: 2 BYE
Content-Length: 0

";
}

/// Messages of a call to the outside, which the phone ends. They have what an ALG must leave alone:
/// compact names, odd spaces, a field that nobody knows.
pub mod outgoing {
    use super::Script;

    /// Alice calls.
    pub const INVITE: Script = "\
INVITE sip:bob@10.1.1.2:8000;transport=tcp SIP/2.0
v: SIP/2.0/TCP {sip};branch=z9hG4bK-out-1
Max-Forwards: 70
f: \"Alice\" <sip:alice@{sip}>;tag=alice-2
t: <sip:bob@10.1.1.2:8000>
i: call-2@phone
CSeq: 1 INVITE
m: <sip:alice@{sip};transport=tcp>
X-Kept :  just \t as it  is
c: application/sdp
l:   {length}

v=0
o=alice 53655766 1 IN IP4 {rtp.ip}
s=-
c=IN IP4 {rtp.ip}
t=0 0
m=audio {rtp.port} RTP/AVP 0
a=rtpmap:0 PCMU/8000
";

    /// Bob's phone rings.
    pub const RINGING: Script = "\
SIP/2.0 180 Ringing
v: SIP/2.0/TCP {sip};branch=z9hG4bK-out-1
f: \"Alice\" <sip:alice@{sip}>;tag=alice-2
t: <sip:bob@10.1.1.2:8000>;tag=bob-2
i: call-2@phone
CSeq: 1 INVITE
l: 0

";

    /// Bob answers.
    pub const OK: Script = "\
SIP/2.0 200 OK
v: SIP/2.0/TCP {sip};branch=z9hG4bK-out-1
f: \"Alice\" <sip:alice@{sip}>;tag=alice-2
t: <sip:bob@10.1.1.2:8000>;tag=bob-2
i: call-2@phone
CSeq: 1 INVITE
m: <sip:bob@10.1.1.2:8000;transport=tcp>
c: application/sdp
l: {length}

v=0
o=bob 2890844527 1 IN IP4 10.1.1.2
s=-
c=IN IP4 10.1.1.2
t=0 0
m=audio 7078 RTP/AVP 0
a=rtpmap:0 PCMU/8000
";

    /// Alice confirms.
    pub const ACK: Script = "\
ACK sip:bob@10.1.1.2:8000;transport=tcp SIP/2.0
Via: SIP/2.0/TCP {sip};branch=z9hG4bK-out-2
Max-Forwards: 70
From: \"Alice\" <sip:alice@{sip}>;tag=alice-2
To: <sip:bob@10.1.1.2:8000>;tag=bob-2
Call-ID: call-2@phone
CSeq: 1 ACK
Content-Length: 0

";

    /// Alice asks something right after.
    pub const OPTIONS: Script = "\
OPTIONS sip:bob@10.1.1.2:8000;transport=tcp SIP/2.0
Via: SIP/2.0/TCP {sip};branch=z9hG4bK-out-3
Max-Forwards: 70
From: \"Alice\" <sip:alice@{sip}>;tag=alice-2
To: <sip:bob@10.1.1.2:8000>;tag=bob-2
Call-ID: call-2@phone
CSeq: 2 OPTIONS
Contact: <sip:alice@{sip};transport=tcp>
Content-Length: 0

";

    /// Bob tells.
    pub const OPTIONS_OK: Script = "\
SIP/2.0 200 OK
Via: SIP/2.0/TCP {sip};branch=z9hG4bK-out-3
From: \"Alice\" <sip:alice@{sip}>;tag=alice-2
To: <sip:bob@10.1.1.2:8000>;tag=bob-2
Call-ID: call-2@phone
CSeq: 2 OPTIONS
Content-Length: 0

";

    /// Alice hangs up.
    pub const BYE: Script = "\
BYE sip:bob@10.1.1.2:8000;transport=tcp SIP/2.0
Via: SIP/2.0/TCP {sip};branch=z9hG4bK-out-4
Max-Forwards: 70
From: \"Alice\" <sip:alice@{sip}>;tag=alice-2
To: <sip:bob@10.1.1.2:8000>;tag=bob-2
Call-ID: call-2@phone
CSeq: 3 BYE
Content-Length: 0

";

    /// Bob agrees.
    pub const BYE_OK: Script = "\
SIP/2.0 200 OK
Via: SIP/2.0/TCP {sip};branch=z9hG4bK-out-4
From: \"Alice\" <sip:alice@{sip}>;tag=alice-2
To: <sip:bob@10.1.1.2:8000>;tag=bob-2
Call-ID: call-2@phone
CSeq: 3 BYE
Content-Length: 0

";
}

/// No SIP, on a SIP port, with an inside address in it that is nobody's business.
pub const HTTP: Script = "\
GET /provisioning?via={sip} HTTP/1.1
Host: 10.1.1.2:5060
Referer: http://{sip}/
Content-Length: 0

";

/// Its answer.
pub const HTTP_OK: Script = "\
HTTP/1.1 200 OK
Content-Type: application/sdp
Content-Length: {length}

v=0
c=IN IP4 {sip.ip}
m=audio 6000 RTP/AVP 0
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_rendered_with_a_views_addresses_and_its_true_length() {
        let at = |text: &str| text.parse::<SocketAddrV4>().unwrap();
        let view = View {
            sip: at("10.1.1.1:5060"),
            flow: at("10.1.1.1:40000"),
            media: Address {
                rtp: at("10.1.1.1:6000"),
                rtcp: at("10.1.1.1:6001"),
            },
        };
        let script = "A {sip} {flow.port}\nl: {length}\n\nm={rtp.port}\nc={rtcp.ip}\n";
        assert_eq!(
            render(script, &view),
            b"A 10.1.1.1:5060 40000\r\nl: 20\r\n\r\nm=6000\r\nc=10.1.1.1\r\n"
        );
    }

    #[test]
    fn cuts_fall_into_headers_and_body() {
        let at = |port| SocketAddrV4::new([192, 168, 122, 3].into(), port);
        let view = View {
            sip: at(5060),
            flow: at(5060),
            media: Address {
                rtp: at(6000),
                rtcp: at(6001),
            },
        };
        let message = render(outgoing::INVITE, &view);
        let cuts = super::cuts(&message);
        assert_eq!(cuts.len(), 6);
        assert!(message[..cuts[1]].ends_with(b"192.1"));
        assert!(message[..cuts[2]].ends_with(b"\r") && message[cuts[2]..].starts_with(b"\n"));
        assert!(message[..cuts[4]].ends_with(b"c=IN IP4 19"));
    }
}
