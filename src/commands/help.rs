//! `evergrant help`: a topic, a command, or the list of both. Reads no settings, so it answers also while they are wrong.

use super::{CommandError, Surroundings};
use crate::cli::{Cli, HelpArgs};
use crate::exit::Exit;
use crate::help::{self, Topic, runbook};
use crate::nearest::nearest_of;
use clap::CommandFactory as _;
use serde_json::json;

/// Prints what the words ask for.
pub fn run(args: &HelpArgs, surroundings: &Surroundings) -> Result<Exit, CommandError> {
    surroundings.start_logging();
    let words: Vec<_> = args.words.iter().map(String::as_str).collect();
    if words.is_empty() {
        // The list of topics stands once: with what each holds.
        let text = format!(
            "{}\n\nTopics (`evergrant help TOPIC`):\n{}",
            command_text(Cli::command().after_help(None)),
            help::list()
        );
        let topics = Topic::ALL.map(|topic| json!({ "topic": topic.name(), "summary": topic.summary() }));
        surroundings.print(&text, &json!({ "topics": topics }))?;
    } else if let [name] = words[..]
        && let Some(topic) = Topic::from_name(name)
    {
        surroundings.print(topic.text().trim_end(), &topic.data())?;
    } else if let ["runbook", alert] = words[..] {
        let text = runbook::about(alert).ok_or_else(|| unknown_alert(alert))?;
        surroundings.print(&text, &json!({ "topic": "runbook", "alert": alert, "text": text }))?;
    } else if let Some(command) = command(&words) {
        let text = command_text(command);
        surroundings.print(&text, &json!({ "command": words.join(" "), "text": text }))?;
    } else {
        return Err(unknown(&words));
    }
    Ok(Exit::Well)
}

/// The command that these words name.
fn command(words: &[&str]) -> Option<clap::Command> {
    let mut command = Cli::command();
    command.build();
    for word in words {
        command = command.find_subcommand(word)?.clone();
    }
    Some(command)
}

fn command_text(mut command: clap::Command) -> String {
    command.render_long_help().to_string().trim_end().to_owned()
}

fn unknown(words: &[&str]) -> CommandError {
    let given = words.join(" ");
    let commands = Cli::command();
    let commands: Vec<_> = commands.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    let known = Topic::ALL.iter().map(|topic| topic.name()).chain(commands.iter().map(String::as_str));
    let hint = match nearest_of(&given.to_lowercase().replace('_', "-"), known) {
        Some(near) => format!("did you mean `evergrant help {near}`?"),
        None => "`evergrant help` lists the topics and the commands".to_owned(),
    };
    CommandError::usage(format!("there is no help topic and no command `{given}`"), hint)
}

fn unknown_alert(alert: &str) -> CommandError {
    let hint = match nearest_of(alert, runbook::alerts()) {
        Some(near) => format!("did you mean `evergrant help runbook {near}`?"),
        None => "`evergrant help runbook` has all alerts".to_owned(),
    };
    CommandError::usage(format!("the runbook has no alert `{alert}`"), hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::told;

    #[test]
    fn an_unknown_topic_is_answered_with_the_nearest() {
        for (given, near) in [("setings", "settings"), ("exit_codes", "exit-codes"), ("jurnal", "journal")] {
            let text = told(&unknown(&[given]));
            assert!(text.ends_with(&format!("did you mean `evergrant help {near}`?")), "{text}");
        }
        let text = told(&unknown(&["quantum", "entanglement"]));
        assert!(text.contains("`quantum entanglement`") && text.contains("`evergrant help` lists"), "{text}");
    }

    #[test]
    fn an_unknown_alert_is_answered_with_the_nearest() {
        let text = told(&unknown_alert("EvergrantIsDown"));
        assert!(text.ends_with("did you mean `evergrant help runbook EvergrantDown`?"), "{text}");
        assert!(
            told(&unknown_alert("KubePodCrashLooping")).contains("`evergrant help runbook` has all alerts")
        );
    }

    #[test]
    fn a_command_is_found_by_its_words() {
        assert!(command_text(command(&["tokens", "list"]).unwrap()).contains("--state"));
        assert!(command(&["tokens", "lisst"]).is_none());
        assert!(!command_text(Cli::command()).is_empty());
    }
}
