//! `show tech-support`: everything, for whoever shall help.

use super::View;
use serde::{Serialize, Serializer};
use serde_json::Value;

/// `show tech-support`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct TechSupport {
    sections: Vec<Section>,
}

#[derive(Clone, PartialEq, Debug)]
struct Section {
    command: &'static str,
    text: String,
    json: Value,
}

impl TechSupport {
    /// With one view more: what `command` shows.
    #[must_use]
    pub fn with(mut self, command: &'static str, view: &impl View) -> Self {
        self.sections.push(Section {
            command,
            text: view.text(),
            json: serde_json::to_value(view).unwrap_or_default(),
        });
        self
    }
}

impl Serialize for TechSupport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let sections = self.sections.iter();
        serializer.collect_map(sections.map(|section| (section.command, &section.json)))
    }
}

impl View for TechSupport {
    fn text(&self) -> String {
        let section = |section: &Section| {
            let Section { command, text, .. } = section;
            format!("\n------------------ {command} ------------------\n\n{text}")
        };
        self.sections.iter().map(section).collect()
    }
}
