import Basics
import Foundation

/// A program that is run to its end, without a shell. Several may run at once.
enum ChildProcess {
  enum Ending: Equatable {
    /// With its status; 128 and more are signals.
    case exited(Int32)
    /// There is no such program.
    case missing
    /// It was killed when its time was over.
    case killed
  }

  /// - Parameters:
  ///   - arguments: the program, which is looked for in PATH, and what it is given.
  ///   - output: the file that takes its standard output. A file cannot fill up and stop the program as a pipe can.
  ///   - seconds: how long it may take.
  /// - Throws: `LiveTalkError` when no process can be started.
  static func run(_ arguments: [String], output: URL, seconds: Double) throws -> Ending {
    #if canImport(Darwin)
      var actions: posix_spawn_file_actions_t?
    #else
      var actions = posix_spawn_file_actions_t()
    #endif
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output.path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0)
    let words: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
    let variables: [UnsafeMutablePointer<CChar>?] = ProcessInfo.processInfo.environment.map {
      strdup("\($0.key)=\($0.value)")
    }
    defer { for pointer in words + variables { free(pointer) } }
    var child = pid_t()
    let failure = posix_spawnp(&child, arguments[0], &actions, nil, words + [nil], variables + [nil])
    guard failure != ENOENT else { return .missing }
    guard failure == 0 else {
      throw LiveTalkError("The program \(arguments[0]) cannot be started: \(systemReason(failure)).")
    }
    let end = ContinuousClock.now + .seconds(seconds)
    var status: Int32 = 0
    while true {
      let ended = waitpid(child, &status, WNOHANG)
      // The low seven bits name the signal that ended it.
      if ended == child { return .exited(status & 0x7F == 0 ? (status >> 8) & 0xFF : 128 + status & 0x7F) }
      // Somebody else has waited for it.
      if ended < 0, errno != EINTR { return .exited(0) }
      if ContinuousClock.now > end {
        kill(child, SIGKILL)
        while waitpid(child, &status, 0) < 0, errno == EINTR {}
        return .killed
      }
      usleep(1_000)
    }
  }
}
