// How a node's state is called and drawn: always a shape and a word, never a colour alone.

const WORDS = {
  self: "this node",
  up: "up",
  suspect: "silent",
  lost: "cannot be reached",
  member: "up, not linked with this node",
  left: "left",
};

/** On the map there is room for a word. */
export const stateLabel = (node) => (node.state === "lost" ? "unreachable" : node.state === "member" ? "" : stateWords(node));

export const stateWords = ({ state }) => WORDS[state] ?? state;

/** The path of a state's mark around the origin, about 8 units in radius. */
export const SHAPES = {
  self: "M-9 0a9 9 0 1 0 18 0a9 9 0 1 0-18 0M-4 0a4 4 0 1 1 8 0a4 4 0 1 1-8 0",
  up: "M-8 0a8 8 0 1 0 16 0a8 8 0 1 0-16 0",
  suspect: "M0-9.500 9.500 7H-9.500Z",
  lost: "M-7-4.500-4.500-7 0-2.500 4.500-7 7-4.500 2.500 0 7 4.500 4.500 7 0 2.500-4.500 7-7 4.500-2.500 0Z",
  member: "M-6.500 0a6.500 6.500 0 1 0 13 0a6.500 6.500 0 1 0-13 0M-4.500 0a4.500 4.500 0 1 1 9 0a4.500 4.500 0 1 1-9 0",
  left: "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0",
};
