//! What is recorded of spellings, and how they come back.

use super::{Conversation, MOST, Spelling, Spellings};
use crate::config::Resource;
use crate::fixup::edit::Text;
use crate::kept::{self, Name, Named, Recorder, untick};
use crate::nat::Context;
use crate::timer::Key;

impl Named<u64> for Conversation {
    type Name = u64;
    fn name(&self, conversation: &u64) -> u64 {
        *conversation
    }
}

impl Conversation {
    fn record(&self, recorder: &Recorder<'_>) -> kept::Spellings<'_> {
        let list = self.spellings.iter().map(|spelling| kept::Spelling {
            seen_by: spelling.seen_by,
            family: spelling.family,
            written: spelling.written.as_bytes(),
            original: spelling.original.as_bytes(),
        });
        kept::Spellings {
            list: list.collect(),
            until: recorder.tick(recorder.due(self.armed).unwrap_or_default()),
        }
    }
}

impl Spellings {
    /// From now on changes are noted; everything counts as changed.
    pub fn record_all(&mut self) {
        self.conversations.begin();
    }

    /// A record of that conversation was there before the machine was.
    pub fn found(&mut self, conversation: u64) {
        self.conversations.changes().found(conversation);
    }

    /// Tells what has changed.
    pub fn kept(&mut self, recorder: &mut Recorder<'_>) {
        let changed = self.conversations.changes().take();
        for conversation in &changed {
            let name = Name::Spellings(*conversation);
            match self.conversations.noted(conversation) {
                Some((note, found)) => {
                    let record = found.record(recorder);
                    recorder.is(name, note, &record);
                }
                None => recorder.gone(name),
            }
        }
        self.conversations.changes().done(changed);
    }

    /// The spellings of a conversation are there again: whether they are.
    pub fn restore(
        &mut self,
        cx: &mut Context<'_>,
        conversation: u64,
        record: &kept::Spellings<'_>,
    ) -> bool {
        let full = self.conversations.len() >= cx.config.limits.bound(Resource::Call).all as usize;
        if full || self.conversations.has(&conversation) || record.list.len() > MOST {
            return false;
        }
        let spellings = record.list.iter().map(|spelling| {
            Some(Spelling {
                seen_by: spelling.seen_by,
                family: spelling.family,
                written: Text::of(spelling.written)?,
                original: Text::of(spelling.original)?,
            })
        });
        let Some(spellings) = spellings.collect() else {
            return false;
        };
        let found = self
            .conversations
            .get_or_insert(conversation, Conversation::default);
        found.spellings = spellings;
        let latest = cx.now + cx.config.timers.mapping_idle;
        let until = untick(record.until, cx.config.timers.use_tick, latest);
        cx.timers
            .arm(&mut found.armed, Key::Spelling(conversation), until);
        self.peak = self.peak.max(self.conversations.len());
        true
    }
}
