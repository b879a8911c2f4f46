//! The client of QEMU's monitor protocol: what the qtest socket cannot do.

use crate::error::{Error, shortened};
use crate::line_socket::LineSocket;
use crate::process::Console;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How deep [`Qmp::find`] looks.
const DEPTH: usize = 4;

/// A property of an object in QEMU's object model.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Property {
    /// Its name, which is also that of a child in a path.
    pub name: String,
    /// Its type; `child<T>` for a child of type `T`.
    pub kind: String,
}

impl Property {
    /// The type of the child, if it is one.
    pub fn child_type(&self) -> Option<&str> {
        self.kind.strip_prefix("child<")?.strip_suffix('>')
    }
}

/// A connection to a QEMU's monitor. The same rules as for [`crate::Qtest`]: a time-out on every request, dead after
/// an error that leaves the two sides out of step.
#[derive(Debug)]
pub struct Qmp {
    socket: LineSocket,
    requests: u64,
    resets: u64,
}

impl Qmp {
    /// Speaks over `stream`, whose other end is a QEMU that somebody else started; waits for its greeting and leaves
    /// the negotiation of capabilities.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] when `timeout` is zero, and those of the connection: see [`Error`].
    pub fn new(stream: UnixStream, timeout: Duration) -> Result<Self, Error> {
        Self::with_console(stream, timeout, None)
    }

    pub(crate) fn with_console(
        stream: UnixStream,
        timeout: Duration,
        console: Option<Arc<Console>>,
    ) -> Result<Self, Error> {
        let mut qmp = Self { socket: LineSocket::new(stream, timeout, console)?, requests: 0, resets: 0 };
        let deadline = qmp.socket.deadline();
        let (line, greeting) = qmp.message("greeting", deadline)?;
        if greeting.get("QMP").is_none() {
            return Err(qmp.socket.malformed("greeting", &line, "not a greeting"));
        }
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Runs a command and gives what it returns. Events are not kept.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with QEMU's reason, and those of the connection.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, Error> {
        let deadline = self.socket.deadline();
        self.execute_until(command, arguments, deadline)
    }

    fn execute_until(&mut self, command: &str, arguments: Value, deadline: Instant) -> Result<Value, Error> {
        self.requests += 1;
        let id = self.requests;
        let request = json!({ "execute": command, "arguments": arguments, "id": id }).to_string();
        self.socket.send(format!("{request}\n").as_bytes(), &request, deadline)?;
        loop {
            let (line, mut reply) = self.message(&request, deadline)?;
            if reply.get("event").is_some() {
                continue;
            }
            if reply.get("id") != Some(&json!(id)) {
                return Err(self.socket.malformed(&request, &line, "the reply to something else"));
            }
            if let Some(error) = reply.get("error") {
                let answer = error.get("desc").and_then(Value::as_str).unwrap_or("(no reason)").to_string();
                return Err(Error::Refused { asked: shortened(request.as_bytes()), answer });
            }
            return match reply.get_mut("return") {
                Some(value) => Ok(value.take()),
                None => Err(self.socket.malformed(&request, &line, "neither return nor error")),
            };
        }
    }

    /// The properties of the object at `path`.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] when there is no such object, and those of the connection.
    pub fn qom_list(&mut self, path: &str) -> Result<Vec<Property>, Error> {
        let list = self.execute("qom-list", json!({ "path": path }))?;
        let text = |item: &Value, key| Some(item.get(key)?.as_str()?.to_string());
        let property = |item| Some(Property { name: text(item, "name")?, kind: text(item, "type")? });
        let properties = list.as_array().and_then(|items| items.iter().map(property).collect());
        properties.ok_or_else(|| {
            let asked = format!("qom-list {path}");
            self.socket.malformed(&asked, list.to_string().as_bytes(), "not a list of properties")
        })
    }

    /// The path of the first object of type `kind` at `root` or below, the shallowest first.
    ///
    /// # Errors
    ///
    /// As [`Self::qom_list`].
    pub fn find(&mut self, root: &str, kind: &str) -> Result<Option<String>, Error> {
        let mut queue = VecDeque::from([(root.to_string(), 0)]);
        while let Some((path, depth)) = queue.pop_front() {
            let mut children = Vec::new();
            for property in self.qom_list(&path)? {
                let Some(child) = property.child_type() else { continue };
                let path = format!("{}/{}", path.trim_end_matches('/'), property.name);
                if child == kind {
                    return Ok(Some(path));
                }
                // Pins and memory have no children; a GIC has hundreds of them.
                if depth + 1 < DEPTH && child != "irq" && child != "memory-region" {
                    children.push((path, depth + 1));
                }
            }
            queue.extend(children);
        }
        Ok(None)
    }

    /// Resets the machine and waits until that is done.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub fn system_reset(&mut self) -> Result<(), Error> {
        let deadline = self.socket.deadline();
        let before = self.resets;
        self.execute_until("system_reset", json!({}), deadline)?;
        // The event may come before or after the reply; the reply alone only says that the wish is noted.
        while self.resets == before {
            let (line, message) = self.message("the end of system_reset", deadline)?;
            if message.get("event").is_none() {
                return Err(self.socket.malformed("system_reset", &line, "nothing was asked"));
            }
        }
        Ok(())
    }

    /// Runs a command of the human monitor and gives what it prints.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with QEMU's reason, and those of the connection. Most commands print their errors.
    pub fn human_monitor_command(&mut self, line: &str) -> Result<String, Error> {
        let printed = self.execute("human-monitor-command", json!({ "command-line": line }))?;
        match printed {
            Value::String(text) => Ok(text),
            other => Err(self.socket.malformed(line, other.to_string().as_bytes(), "not a text")),
        }
    }

    /// The next message, and its text.
    fn message(&mut self, asked: &str, deadline: Instant) -> Result<(Vec<u8>, Value), Error> {
        let line = self.socket.receive(asked, deadline)?;
        match serde_json::from_slice::<Value>(&line) {
            Ok(message) if message.is_object() => {
                if message.get("event") == Some(&json!("RESET")) {
                    self.resets += 1;
                }
                Ok((line, message))
            }
            _ => Err(self.socket.malformed(asked, &line, "not a JSON object")),
        }
    }
}
