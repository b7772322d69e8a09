import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exprToJson } from './ast-json.ts';
import { ALL_FEATURES, parseExpr } from './parser.ts';

const json = (query: string) => JSON.stringify(exprToJson(parseExpr(query, ALL_FEATURES)));
const UP = '{"name":"__name__","type":"=","value":"up"}';
const selector = (more: string) =>
  `{"anchored":false,"matchers":[${UP}],"name":"up","offset":0,"smoothed":false,"startOrEnd":null,"timestamp":null,${more}}`;
const VECTOR = selector('"type":"vectorSelector"');

test('literals', () => {
  assert.equal(json('-1e21'), '{"type":"numberLiteral","val":"-1000000000000000000000"}');
  assert.equal(json('Inf'), '{"type":"numberLiteral","val":"+Inf"}');
  assert.equal(json('5m'), '{"type":"numberLiteral","val":"300"}');
  assert.equal(json("'x'"), '{"type":"stringLiteral","val":"x"}');
});

test('selectors and ranges', () => {
  assert.equal(json('up'), VECTOR);
  assert.equal(
    json('up[5m] @ start() offset -1m'),
    `{"anchored":false,"matchers":[${UP}],"name":"up","offset":-60000,"range":300000,"smoothed":false,"startOrEnd":"start","timestamp":null,"type":"matrixSelector"}`,
  );
  assert.equal(
    json('up[1h:5m] @ 2'),
    `{"expr":${VECTOR},"offset":0,"range":3600000,"startOrEnd":null,"step":300000,"timestamp":2000,"type":"subquery"}`,
  );
});

test('operators, calls, aggregations', () => {
  assert.equal(
    json('up > bool on (a) group_right () up'),
    `{"bool":true,"lhs":${VECTOR},"matching":{"card":"one-to-many","fillValues":{"lhs":null,"rhs":null},"include":[],"labels":["a"],"on":true},"op":">","rhs":${VECTOR},"type":"binaryExpr"}`,
  );
  assert.equal(
    json('-(up * 2)'),
    `{"expr":{"expr":{"bool":false,"lhs":${VECTOR},"matching":null,"op":"*","rhs":{"type":"numberLiteral","val":"2"},"type":"binaryExpr"},"type":"parenExpr"},"op":"-","type":"unaryExpr"}`,
  );
  assert.equal(
    json('round(up)'),
    `{"args":[${VECTOR}],"func":{"argTypes":["vector","scalar"],"name":"round","returnType":"vector","variadic":1},"type":"call"}`,
  );
  assert.equal(
    json('topk without (a) (2, up)'),
    `{"expr":${VECTOR},"grouping":["a"],"op":"topk","param":{"type":"numberLiteral","val":"2"},"type":"aggregation","without":true}`,
  );
});
