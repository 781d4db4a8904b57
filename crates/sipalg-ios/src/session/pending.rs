//! A configuration on the way to one that works: what of it can be carried out already.

use crate::startup::Startup;

/// The part of a configuration that works, and why the rest does not yet.
///
/// IOS lets a rule name an access list that comes later; such a rule waits here instead of being
/// refused.
pub fn split(startup: &Startup) -> (Startup, Vec<String>) {
    let mut workable = startup.clone();
    let mut waits = Vec::new();
    while let Err(conflict) = workable.check() {
        conflict.statement.take_out(&mut workable);
        waits.push(conflict.reason);
    }
    waits.dedup();
    (workable, waits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::startup::{InsideSource, Interface};
    use sipalg_core::Leg;

    #[test]
    fn only_the_rules_that_lack_something_wait() {
        let mut startup = Startup::parse("access-list 1 permit any").unwrap();
        for (name, leg) in [("gin", Leg::Inside), ("gout", Leg::Outside)] {
            startup.interfaces.push(Interface {
                name: name.into(),
                nat: Some(leg),
            });
        }
        let works = InsideSource::overload("1", "gout");
        startup.sources = vec![InsideSource::overload("2", "gout"), works.clone()];
        let (workable, waits) = split(&startup);
        assert_eq!(workable.sources, [works]);
        assert_eq!(waits, ["access list 2 does not exist"]);
        assert_eq!(split(&workable), (workable.clone(), vec![]));
    }
}
