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
    Terminal.complain("\(name): \(sentence(explained(error)))")
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
    Terminal.complain("\(name): \(isUsage ? sentence(root.message(for: error)) : sentence(describe(error)))")
    exit(isUsage ? ExitCode.validationFailure.rawValue : 1)
  }
}

/// An error's own words; the system's errors describe themselves for programmers, and their localised text for people.
private func describe(_ error: any Error) -> String {
  error is CocoaError || error is POSIXError ? error.localizedDescription : "\(error)"
}

/// libtorch's words for exhausted memory are about allocators.
private func explained(_ error: TorchError) -> String {
  let text = error.description
  guard text.contains("out of memory") || text.contains("can't allocate memory") else { return text }
  let bytes = text.firstMatch(of: /tried to allocate (\d+) bytes/).flatMap { Int($0.1) }
  return "There is not enough memory" + (bytes.map { " for \(byteText($0)) more" } ?? "")
    + ": smaller sizes, fewer frames in the cache policy or bf16 take less."
}

/// The first paragraph of a message on one line, ending as a sentence ends. libtorch puts a stack after its first line.
private func sentence(_ message: String) -> String {
  let lines = message.split(separator: "\n", omittingEmptySubsequences: false)
  let paragraph = lines.drop { $0.allSatisfy(\.isWhitespace) }.prefix { !$0.allSatisfy(\.isWhitespace) }
  let isTrace = { (line: Substring) in line.hasPrefix("Exception raised from") || line.hasPrefix("frame #") }
  let text = paragraph.prefix { !isTrace($0) }.map { $0.trimmingCharacters(in: .whitespaces) }.joined(separator: " ")
  guard let last = text.last else { return "It failed without saying why." }
  return ".!?".contains(last) ? text : "\(text)."
}
