//! Which text stood where we wrote another, where the mappings alone cannot tell it.
//!
//! A mapping turns an address back exactly only if the address was spelled in the usual way. Where
//! it would not (a host without a port whose mapping needs one, white space around a colon, an
//! identity that named our public address itself), the original is kept for the Call-ID, so that an
//! answer that echoes what we wrote comes back to the byte.

mod kept;

use crate::addr::Leg;
use crate::config::Resource;
use crate::fixup::edit::Text;
use crate::kept::Table;
use crate::nat::Context;
use crate::sip::Name;
use crate::timer::{Armed, Key};
use alloc::vec::Vec;
use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

/// Fields that quote each other: what was written in one may be echoed in another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Family {
    /// Via.
    Via,
    /// `received` in a Via.
    Source,
    /// A contact, and the request line that names it.
    Contact,
    /// From and To, which change sides between requests of a dialog.
    Party,
    /// Record-Route, and the Route made of it.
    Route,
    /// Any other field.
    Other,
}

impl Family {
    /// The family of a field.
    pub fn of(name: Name) -> Family {
        match name {
            Name::Via => Family::Via,
            Name::Contact => Family::Contact,
            Name::From | Name::To => Family::Party,
            Name::RecordRoute | Name::Route => Family::Route,
            _ => Family::Other,
        }
    }
}

/// One replaced text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spelling {
    /// The leg that saw what was written, and may echo it.
    pub seen_by: Leg,
    /// In which fields.
    pub family: Family,
    /// What was written.
    pub written: Text,
    /// What stood there.
    pub original: Text,
}

/// How many are kept for a Call-ID: a few are usual, and a peer decides how many it makes us keep.
const MOST: usize = 16;

#[derive(Debug, Default)]
struct Conversation {
    spellings: Vec<Spelling>,
    armed: Armed,
}

/// The spellings by Call-ID and inside host (as a keyed hash).
#[derive(Debug)]
pub struct Spellings {
    conversations: Table<u64, Conversation>,
    peak: usize,
}

impl Spellings {
    /// None.
    pub fn new(seed: u64) -> Self {
        Spellings {
            conversations: Table::new(FixedState::with_seed(seed)),
            peak: 0,
        }
    }

    /// Whether any are kept for that conversation. Nearly always not: addresses are nearly always
    /// spelled in the usual way.
    pub fn has(&self, conversation: u64) -> bool {
        !self.conversations.is_empty() && self.conversations.has(&conversation)
    }

    /// What stood where `written` is seen now.
    pub fn original(
        &self,
        conversation: u64,
        seen_by: Leg,
        family: Family,
        written: &[u8],
    ) -> Option<Text> {
        let found = self.conversations.get(&conversation)?;
        let spelling = found.spellings.iter().find(|spelling| {
            spelling.seen_by == seen_by
                && spelling.family == family
                && spelling.written.as_bytes() == written
        });
        spelling.map(|spelling| spelling.original)
    }

    /// Keeps one, for as long as a mapping would be kept.
    pub fn keep(&mut self, cx: &mut Context<'_>, conversation: u64, spelling: Spelling) {
        if self.conversations.len() >= cx.config.limits.bound(Resource::Call).all as usize
            && !self.conversations.has(&conversation)
        {
            return;
        }
        let found = self
            .conversations
            .get_or_insert(conversation, Conversation::default);
        if found.spellings.len() < MOST && !found.spellings.contains(&spelling) {
            found.spellings.push(spelling);
        }
        let at = cx.now + cx.config.timers.mapping_idle;
        cx.timers
            .arm(&mut found.armed, Key::Spelling(conversation), at);
        self.peak = self.peak.max(self.conversations.len());
    }

    /// A deadline came; `needed` says that the call goes on.
    pub fn expired(&mut self, cx: &mut Context<'_>, conversation: u64, needed: bool) {
        if !needed {
            self.conversations.remove(&conversation);
        } else if let Some(found) = self.conversations.get_mut(&conversation) {
            found.armed.came();
            let at = cx.now + cx.config.timers.mapping_idle;
            cx.timers
                .arm(&mut found.armed, Key::Spelling(conversation), at);
        }
    }

    /// How many Call-IDs had some at most.
    pub fn peak(&self) -> usize {
        self.peak
    }

    /// How many Call-IDs have some.
    pub fn len(&self) -> usize {
        self.conversations.len()
    }
}
