//! Where metrics go without being asked for: a file for `node_exporter`'s textfile collector, and a Pushgateway.

use super::metrics::{self, Which};
use super::{Event, Shows, WatchSettings, next_event, outbound};
use crate::failure::error_chain;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use url::Url;

/// Where metrics go after each pass.
#[derive(Debug, Clone)]
pub struct Outlets {
    file: Option<PathBuf>,
    push_url: Option<Url>,
    labels: Vec<(String, String)>,
}

impl Outlets {
    /// Those of the settings; `None` where there are none.
    #[must_use]
    pub fn of(settings: &WatchSettings) -> Option<Self> {
        let (file, push_url) = (settings.metrics_file.clone(), settings.push_url.clone().map(|url| url.0));
        let labels = settings.labels.clone();
        (file.is_some() || push_url.is_some()).then_some(Self { file, push_url, labels })
    }

    /// Hands the metrics over after each pass and each survey, until `ended`. No pass waits for it: while it is slow, passes become one.
    pub async fn after_each_pass(
        self,
        shows: Arc<dyn Shows>,
        mut events: broadcast::Receiver<Event>,
        ended: CancellationToken,
    ) {
        while let Some(event) = next_event(&mut events, &ended).await {
            if matches!(event, Event::Begun { .. }) {
                continue;
            }
            // Several that have happened meanwhile are one.
            while let Ok(Event::Ended { .. } | Event::Surveyed) = events.try_recv() {}
            shows.look_around().await;
            self.hand_over(&*shows).await;
        }
    }

    /// Hands the metrics over once. What fails is told, and is no failure of a pass.
    pub async fn hand_over(&self, shows: &dyn Shows) {
        // The file is read by a collector that adds nothing: counters of a process that ends would be read as new ones.
        let page = metrics::page(&shows.status(), Which::Gauges, &self.labels);
        if let Some(file) = self.file.clone() {
            let text = page.clone();
            let written =
                tokio::task::spawn_blocking(move || write(&file, &text).map_err(|error| (file, error)));
            if let Ok(Err((file, error))) = written.await {
                let file = file.display();
                warn!(%error, "the metrics can't be written into {file}: check `metrics.file`, and whether this user may write into its folder");
            }
        }
        if let Some(url) = &self.push_url
            && let Err(error) = outbound::send(outbound::Method::Put, url, metrics::MEDIA_TYPE, page).await
        {
            let host = url.host_str().unwrap_or_default();
            warn!(
                error = error_chain(&error),
                "the metrics can't be pushed to {host}: check `metrics.push_url`"
            );
        }
    }
}

/// Writes a file that is there in whole or as it was before: a collector may read it at any time.
fn write(file: &Path, text: &str) -> io::Result<()> {
    let mut beside: OsString = file.file_name().unwrap_or_default().to_owned();
    // A collector reads what ends in `.prom`, and nothing else.
    beside.push(".new");
    let beside = file.with_file_name(beside);
    // Made anew: others may write into such a folder, and a link that one of them puts there must not lead us to a file of ours.
    let _ = fs::remove_file(&beside);
    let open = File::options().write(true).create_new(true).mode(0o644).open(&beside);
    let written = open.and_then(|mut open| {
        open.write_all(text.as_bytes())?;
        open.sync_all()?;
        fs::rename(&beside, file)
    });
    if written.is_err() {
        // What is left of it goes next time.
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_in_whole_and_a_failed_write_leaves_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("evergrant.prom");
        for text in ["one\n", "two\n"] {
            write(&file, text).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
        let left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["evergrant.prom"]);
        // A link in the place of what is written beside it.
        let journal = folder.path().join("journal.db");
        fs::write(&journal, "rows").unwrap();
        std::os::unix::fs::symlink(&journal, folder.path().join("evergrant.prom.new")).unwrap();
        write(&file, "three\n").unwrap();
        assert_eq!(fs::read_to_string(&journal).unwrap(), "rows");
        assert_eq!(fs::read_to_string(&file).unwrap(), "three\n");
        assert!(write(&folder.path().join("absent/evergrant.prom"), "three\n").is_err());
        // A folder in the way of the rename.
        let taken = folder.path().join("taken.prom");
        fs::create_dir(&taken).unwrap();
        assert!(write(&taken, "three\n").is_err() && !folder.path().join("taken.prom.new").exists());
    }
}
