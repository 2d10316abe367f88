package import ArgumentParser
import Basics
import Foundation
import Torch

/// The version that `--version` prints.
package let toolVersion = "0.1.0"

/// Runs a command line and ends the process: the one place that turns errors into a sentence and an exit status.
///
/// Whatever a command throws becomes one line on standard error, `livetalk: …`, and status 1; wrong arguments give status 64.
/// A command that has said all it has to say throws `ExitCode`.
package func runTool<Root: ParsableCommand>(_ root: Root.Type) -> Never {
  // A write past a limit on file sizes is then an error with a reason, not a signal that ends the process.
  signal(SIGXFSZ, SIG_IGN)
  let name = root.configuration.commandName ?? "livetalk"
  // A command has nothing to go on with when an operation fails, such as for want of memory.
  onTorchFailure { error in
    Interruption.undoAll()
    complain(name, error)
    _exit(1)
  }
  Torch.keepFreedMemory()
  do {
    var command = try root.parseAsRoot()
    try command.run()
    exit(0)
  } catch let code as ExitCode {
    exit(code.rawValue)
  } catch {
    // Help and versions that were asked for go to standard output as they are.
    if root.exitCode(for: error) == .success { root.exit(withError: error) }
    Interruption.forget()
    let isUsage = root.exitCode(for: error) == .validationFailure
    if isUsage { Terminal.complain("\(name): \(userLine(root.message(for: error)))") } else { complain(name, error) }
    exit(isUsage ? ExitCode.validationFailure.rawValue : 1)
  }
}

/// Says what went wrong, in one line; with LIVETALK_TRACE in the environment also what the error says of itself, which may be long.
private func complain(_ name: String, _ error: any Error) {
  Terminal.complain("\(name): \(userSentence(error))")
  let isTraced = !(ProcessInfo.processInfo.environment["LIVETALK_TRACE"] ?? "").isEmpty
  if isTraced { Terminal.error("\(name): \((error as? TorchError)?.description ?? String(reflecting: error))") }
}
