//! `tandem init`.

use anyhow::Context;
use clap::builder::PossibleValuesParser;
use std::process::ExitCode;

#[derive(clap::Args)]
pub(crate) struct Init {
    /// Which kind of traffic the parameters suit.
    #[arg(long, default_value = "wholesale", value_parser = preset_names())]
    preset: String,
}

fn preset_names() -> PossibleValuesParser {
    tandem_config::presets().iter().map(|preset| preset.name).collect::<Vec<_>>().into()
}

impl Init {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let text = tandem_config::init_text(&self.preset).context("no such preset")?;
        crate::output::print(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}
