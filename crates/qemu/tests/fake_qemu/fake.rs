//! A thread at the other end of a socket.
#![allow(unreachable_pub)] // It is a module of a test.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::Duration;

/// Never reached.
pub const LONG: Duration = Duration::from_secs(10);
/// Reached on purpose.
pub const SHORT: Duration = Duration::from_millis(80);

/// The other end: reads requests, writes whatever a test wants.
pub struct Fake {
    requests: BufReader<UnixStream>,
    pub replies: UnixStream,
}

impl Fake {
    pub fn request(&mut self) -> String {
        let mut line = String::new();
        self.requests.read_line(&mut line).unwrap();
        line.trim_end().to_string()
    }

    pub fn say(&mut self, text: impl AsRef<[u8]>) {
        self.replies.write_all(text.as_ref()).unwrap();
    }

    /// Waits until the client hangs up.
    pub fn until_closed(&mut self) {
        while self.requests.read_line(&mut String::new()).is_ok_and(|count| count > 0) {}
    }
}

/// Runs `script` as the other end of the socket that it gives.
pub fn fake<T: Send + 'static>(
    script: impl FnOnce(Fake) -> T + Send + 'static,
) -> (UnixStream, JoinHandle<T>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let requests = BufReader::new(theirs.try_clone().unwrap());
    (ours, std::thread::spawn(move || script(Fake { requests, replies: theirs })))
}
