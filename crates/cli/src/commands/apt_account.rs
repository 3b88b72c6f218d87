//! The last question before dpkg: apt hands over the debs it is about to install, from wherever
//! they came, and installs nothing unless all of them are admitted (apt.conf(5),
//! `DPkg::Pre-Install-Pkgs`).

use crate::print;
use countersign_engine::Engine;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The answer to a list of debs that may all be installed.
const YES: &str = "admitted";

/// The side that apt starts: sends the list to the run's gate and waits for the answer.
pub fn ask(socket: &Path) -> u8 {
    match exchange(socket) {
        Ok(answer) if answer == YES => 0,
        Ok(answer) => {
            print::error_line(&answer);
            1
        }
        Err(e) => {
            print::error_line(&format!(
                "countersign: the gate cannot be asked: {e}; nothing is installed"
            ));
            1
        }
    }
}

fn exchange(socket: &Path) -> std::io::Result<String> {
    let mut list = String::new();
    std::io::stdin().read_to_string(&mut list)?;
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(list.as_bytes())?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The side of the run: answers each list.
pub fn listen(socket: &Path, engine: Engine) -> std::io::Result<()> {
    let listener = tokio::net::UnixListener::bind(socket)?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut list = String::new();
            if stream.read_to_string(&mut list).await.is_err() {
                continue;
            }
            let answer = judge(&engine, &list).await;
            // apt takes a missing answer for a no.
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    Ok(())
}

async fn judge(engine: &Engine, list: &str) -> String {
    let mut refused = Vec::new();
    for path in list.lines().map(str::trim).filter(|l| !l.is_empty()) {
        if let Err(why) = engine.judge_deb(Path::new(path)).await {
            refused.push(format!("countersign: {why}"));
        }
    }
    if refused.is_empty() { YES.to_owned() } else { refused.join("\n") }
}
