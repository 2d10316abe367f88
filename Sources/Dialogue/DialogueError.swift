import Basics
import Foundation

/// What is wrong with the settings of a dialogue, in one sentence that says what to do.
package struct DialogueError: SentenceError, Hashable, Sendable, LocalizedError {
  package let description: String
  package var errorDescription: String? { description }
  init(_ description: String) { self.description = description }
}
