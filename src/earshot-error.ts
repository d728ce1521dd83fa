/** An error that a person can act on: a stable code, and a message that says what was expected, what came, what to do. */
export class EarshotError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "EarshotError";
    this.code = code;
  }
}
