//! The far end: registrar, proxy and peers. It knows what it saw on the wire and nothing else.

use super::wire::field;
use std::collections::BTreeMap;

/// What the far end has learned.
#[derive(Default)]
pub struct FarEnd {
    /// Where the other side of a conversation (Call-ID) wants to be reached, by the last Contact.
    contacts: BTreeMap<String, String>,
}

impl FarEnd {
    /// A message arrived.
    pub fn sees(&mut self, message: &str) {
        let contact = message
            .lines()
            .find_map(|line| line.strip_prefix("Contact: <sip:u@"))
            .and_then(|contact| contact.split([';', '>']).next());
        if let Some(contact) = contact {
            assert!(contact.starts_with("10.1.1.1:"), "no way to it: {message}");
            self.contacts
                .insert(field(message, "Call-ID"), contact.into());
        }
    }

    /// Where it would send a request of that conversation.
    pub fn target(&self, call_id: &str) -> &str {
        let known = self.contacts.get(call_id);
        known.unwrap_or_else(|| panic!("{call_id} never told its contact"))
    }
}
