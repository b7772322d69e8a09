/**
 * The functions of PromQL: names, argument types, result type.
 *
 * `variadic`: 0 = exactly the listed arguments; n > 0 = the last listed one may be absent or stand up to n times;
 * -1 = it may stand any number of times, or be absent. Reference: Prometheus 3.x, main of August 2026.
 */
import type { ValueType } from './ast.ts';

export interface FunctionSignature {
  name: string;
  argTypes: readonly ValueType[];
  variadic: number;
  returnType: ValueType;
  /** Refused unless ParserFeatures.experimentalFunctions is on. */
  experimental: boolean;
}

const table = new Map<string, FunctionSignature>();

function define(names: string, args: string, returnType: ValueType = 'vector', variadic = 0, experimental = false) {
  const argTypes = args === '' ? [] : (args.split(' ') as ValueType[]);
  for (const name of names.split(' ')) table.set(name, { name, argTypes, variadic, returnType, experimental });
}

define('abs absent ceil exp floor ln log10 log2 sgn sort sort_desc sqrt timestamp', 'vector');
define('acos acosh asin asinh atan atanh cos cosh deg rad sin sinh tan tanh', 'vector');
define('histogram_avg histogram_count histogram_sum histogram_stddev histogram_stdvar', 'vector');
define('scalar', 'vector', 'scalar');
define('days_in_month day_of_month day_of_week day_of_year hour minute month year', 'vector', 'vector', 1);
define('round', 'vector scalar', 'vector', 1);
define('clamp', 'vector scalar scalar');
define('clamp_max clamp_min', 'vector scalar');
define('histogram_fraction', 'scalar scalar vector');
define('histogram_quantile', 'scalar vector');
define('label_replace', 'vector string string string string');
define('label_join', 'vector string string string', 'vector', -1);
define('pi time', '', 'scalar');
define('vector', 'scalar');

define('absent_over_time avg_over_time count_over_time last_over_time max_over_time min_over_time', 'matrix');
define('present_over_time stddev_over_time stdvar_over_time sum_over_time', 'matrix');
define('changes delta deriv idelta increase irate rate resets', 'matrix');
define('predict_linear', 'matrix scalar');
define('quantile_over_time', 'scalar matrix');

define('first_over_time mad_over_time', 'matrix', 'vector', 0, true);
define('ts_of_first_over_time ts_of_last_over_time', 'matrix', 'vector', 0, true);
define('ts_of_max_over_time ts_of_min_over_time', 'matrix', 'vector', 0, true);
define('double_exponential_smoothing', 'matrix scalar scalar', 'vector', 0, true);
define('histogram_quantiles', 'vector string scalar scalar', 'vector', 9, true);
define('info', 'vector vector', 'vector', 1, true);
define('sort_by_label sort_by_label_desc', 'vector string', 'vector', -1, true);
define('start_timestamp', 'vector', 'vector', 0, true);
define('start end range step', '', 'scalar', 0, true);
define('min_of max_of', 'scalar scalar', 'scalar', 0, true);

/** All functions, by name. */
export const FUNCTIONS: ReadonlyMap<string, FunctionSignature> = table;
