//! The binary: no logic.

use std::process::ExitCode;

fn main() -> ExitCode {
    evergrant::main()
}
