//! What runs beside the passes, for those who watch: it begins with the process, and ends before the engine is closed.

use super::super::CommandError;
use crate::engine::Engine;
use crate::watch::admin::Admin;
use crate::watch::outlets::Outlets;
use crate::watch::ping::Ping;
use crate::watch::{Shows, WatchSettings, systemd};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long what is told about the last pass may take when the process ends.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// What runs beside the passes.
#[must_use = "it holds the journal until it is ended"]
pub(super) struct Watching {
    ended: CancellationToken,
    tasks: JoinSet<()>,
    /// What a process of one pass hands over at its end.
    at_the_end: Option<(Outlets, Engine)>,
}

impl Watching {
    /// Begins to show a process that lives for many passes.
    ///
    /// # Errors
    /// When an address that a person chose can't be listened at.
    pub(super) async fn of_a_service(
        settings: &WatchSettings,
        engine: &Engine,
    ) -> Result<Self, CommandError> {
        let mut watching = Self::begin(settings, engine);
        if let Some(outlets) = Outlets::of(settings) {
            let (shows, events, ended) = (Arc::new(engine.clone()), engine.events(), watching.ended.clone());
            watching.tasks.spawn(outlets.after_each_pass(shows, events, ended));
        }
        let shows: Arc<dyn Shows> = Arc::new(engine.clone());
        if let Some(admin) = Admin::listen(settings).await? {
            watching.tasks.spawn(admin.serve(shows.clone(), watching.ended.clone()));
        }
        watching.tasks.spawn(systemd::tell(shows.clone(), watching.ended.clone()));
        watching.tasks.spawn(engine.clone().keep_watch(watching.ended.clone()));
        Ok(watching)
    }

    /// Begins to tell of one pass.
    pub(super) async fn of_one_pass(settings: &WatchSettings, engine: &Engine) -> Self {
        engine.recall_passes().await;
        let at_the_end = Outlets::of(settings).map(|outlets| (outlets, engine.clone()));
        Self { at_the_end, ..Self::begin(settings, engine) }
    }

    fn begin(settings: &WatchSettings, engine: &Engine) -> Self {
        let (mut tasks, ended) = (JoinSet::new(), CancellationToken::new());
        if let Some(url) = settings.ping_url.clone() {
            tasks.spawn(Ping::default().of_each_pass(url, engine.events(), ended.clone()));
        }
        Self { ended, tasks, at_the_end: None }
    }

    /// Ends all of it; what is to be told of the last pass gets a moment.
    pub(super) async fn end(self) {
        let Self { ended, mut tasks, at_the_end } = self;
        ended.cancel();
        let all = async {
            if let Some((outlets, engine)) = at_the_end {
                engine.look_around().await;
                outlets.hand_over(&engine).await;
            }
            while tasks.join_next().await.is_some() {}
        };
        // What is told too slowly is dropped with the set.
        let _ = tokio::time::timeout(LAST_WORDS, all).await;
    }
}
