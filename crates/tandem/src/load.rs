//! Reading the configuration: the file, and the environment over it.

use anyhow::{Context, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use tandem_config::{Config, ConfigError, Loaded};

/// Where the configuration is.
#[derive(Clone, clap::Args)]
pub(crate) struct ConfigFile {
    /// The configuration file (TOML). Without one the built-in defaults hold.
    ///
    /// The environment overrides it: SS_… a parameter, TANDEM_SECTION__KEY any key (TANDEM_LISTEN__0__BIND).
    #[arg(long, env = "TANDEM_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

impl ConfigFile {
    /// Reads it whole, and says all that is wrong with it.
    pub(crate) fn load(&self) -> anyhow::Result<Loaded> {
        self.read()?.or_else(|errors| {
            for error in &errors {
                eprintln!("{}", error.in_file(&self.name()));
            }
            let plural = if errors.len() == 1 { "error" } else { "errors" };
            bail!("{} {plural} in the configuration", errors.len())
        })
    }
}

impl ConfigFile {
    /// Reads it whole: the configuration, or all that is wrong with it.
    pub(crate) fn read(&self) -> anyhow::Result<Result<Loaded, Vec<ConfigError>>> {
        let text = match &self.config {
            Some(path) => {
                std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?
            }
            None => String::new(),
        };
        Ok(Config::parse(&text, environment()))
    }

    /// What it is called in messages.
    pub(crate) fn name(&self) -> String {
        self.config.as_deref().unwrap_or(Path::new("defaults")).display().to_string()
    }
}

/// Variables of the commands that talk to a running switch. They are nothing to the configuration, and an operator's
/// shell may well have them.
const OF_THE_CLIENT: [&str; 3] = ["TANDEM_API", "TANDEM_TOKEN", "TANDEM_AUTHOR"];

/// The environment, as far as it is text: what is not can be none of ours.
fn environment() -> impl Iterator<Item = (String, String)> {
    let text =
        |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    std::env::vars_os().filter_map(text).filter(|(name, _)| !OF_THE_CLIENT.contains(&name.as_str()))
}
