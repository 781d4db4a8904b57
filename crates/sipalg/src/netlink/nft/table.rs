//! What one of our own tables holds, and whether anyone has changed nftables.

use super::listing::{NFT_MSG_GETCHAIN, NFT_MSG_GETRULE};
use super::*;

/// Where packets enter a chain by themselves: hook number and priority.
pub type Entrance = (u32, i32);

impl Nft {
    /// The chains of the table `table` of the family `ip`: their names, and where packets enter those
    /// that they enter by themselves.
    ///
    /// # Errors
    /// The kernel's.
    pub fn chains(&mut self, table: &str) -> Result<Vec<(String, Option<Entrance>)>, Error> {
        let question = message(NFT_MSG_GETCHAIN, 0).text(NFTA_CHAIN_TABLE, table);
        self.list(&question, |told, found| {
            if attribute(told, NFTA_CHAIN_TABLE).map(text_of).as_deref() != Some(table) {
                return;
            }
            let hook = attribute(told, NFTA_CHAIN_HOOK).and_then(|hook| {
                let number = |kind| attribute(hook, kind)?.try_into().ok();
                Some((
                    u32::from_be_bytes(number(NFTA_HOOK_HOOKNUM)?),
                    i32::from_be_bytes(number(NFTA_HOOK_PRIORITY)?),
                ))
            });
            let name = attribute(told, NFTA_CHAIN_NAME).map(text_of);
            found.extend(name.map(|name| (name, hook)));
        })
    }

    /// The rules of the table `table`, in order: the chain of each, and the note on it
    /// ([`add_rule`]); empty on rules that others have put there.
    ///
    /// # Errors
    /// The kernel's.
    pub fn notes(&mut self, table: &str) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let question = message(NFT_MSG_GETRULE, 0).text(NFTA_RULE_TABLE, table);
        self.list(&question, |told, found| {
            if attribute(told, NFTA_RULE_TABLE).map(text_of).as_deref() != Some(table) {
                return;
            }
            let note = match attribute(told, NFTA_RULE_USERDATA) {
                Some([NOTE, _, note @ ..]) => note,
                _ => &[],
            };
            let chain = attribute(told, NFTA_RULE_CHAIN).map(text_of);
            found.extend(chain.map(|chain| (chain, note.to_vec())));
        })
    }

    /// The number of the last transaction in this network namespace, whoever made it: it goes up by
    /// one with each that has taken effect.
    ///
    /// # Errors
    /// The kernel's.
    pub fn generation(&mut self) -> Result<u32, Error> {
        let mut generation = None;
        self.0.ask(message(NFT_MSG_GETGEN, 0), |payload| {
            let told = payload.get(NFGENMSG..).unwrap_or_default();
            let value = attribute(told, NFTA_GEN_ID).and_then(|v| v.try_into().ok());
            generation = value.map(u32::from_be_bytes);
        })?;
        generation.ok_or_else(|| nix::errno::Errno::EBADMSG.into())
    }

    /// How many transactions of this conversation have taken effect; one that changes nothing may
    /// count here and not in [`Nft::generation`].
    pub fn transactions(&self) -> u32 {
        self.0.transactions
    }
}

const NFT_MSG_GETGEN: u16 = 16;
const NFTA_GEN_ID: u16 = 1;
