-- A database of revision 0001 on PostgreSQL, as pg_dump --inserts wrote it, without comments.
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET client_min_messages = warning;
CREATE TYPE public.studydirection AS ENUM (
    'NOT_SET',
    'MINIMIZE',
    'MAXIMIZE'
);
CREATE TYPE public.trialintermediatevaluetype AS ENUM (
    'FINITE',
    'INF_POS',
    'INF_NEG',
    'NAN'
);
CREATE TYPE public.trialstate AS ENUM (
    'RUNNING',
    'COMPLETE',
    'PRUNED',
    'FAIL',
    'WAITING'
);
CREATE TYPE public.trialvaluetype AS ENUM (
    'FINITE',
    'INF_POS',
    'INF_NEG'
);
SET default_tablespace = '';
CREATE TABLE public.adai_alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.adai_attempts (
    id integer NOT NULL,
    study_id integer NOT NULL,
    workload character varying(64) NOT NULL,
    optimizer character varying(64) NOT NULL,
    runs integer NOT NULL,
    started_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone,
    termination character varying(16),
    error text,
    worker character varying(255),
    host character varying(255),
    pid bigint,
    device character varying(64),
    engine character varying(64),
    torch_version character varying(64)
);
CREATE SEQUENCE public.adai_attempts_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.adai_attempts_id_seq OWNED BY public.adai_attempts.id;
CREATE TABLE public.adai_environments (
    id integer NOT NULL,
    hash character varying(64) NOT NULL,
    details json NOT NULL
);
CREATE SEQUENCE public.adai_environments_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.adai_environments_id_seq OWNED BY public.adai_environments.id;
CREATE TABLE public.adai_epochs (
    run_id integer NOT NULL,
    epoch integer NOT NULL,
    train_loss double precision,
    val_loss double precision,
    val_error double precision,
    lr double precision NOT NULL,
    seconds double precision NOT NULL
);
CREATE TABLE public.adai_runs (
    id integer NOT NULL,
    trial_id integer NOT NULL,
    seed integer NOT NULL,
    termination character varying(16),
    reason text,
    epochs integer,
    objective double precision,
    at_chance boolean,
    train_loss double precision,
    val_loss double precision,
    val_error double precision,
    test_loss double precision,
    test_error double precision,
    seconds double precision,
    attempt_id integer
);
CREATE SEQUENCE public.adai_runs_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.adai_runs_id_seq OWNED BY public.adai_runs.id;
CREATE TABLE public.adai_studies (
    id integer NOT NULL,
    name character varying(64) NOT NULL,
    spec json NOT NULL,
    spec_hash character varying(64) NOT NULL,
    state character varying(16) NOT NULL,
    driver character varying(320),
    environment_id integer NOT NULL,
    created_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone
);
CREATE SEQUENCE public.adai_studies_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.adai_studies_id_seq OWNED BY public.adai_studies.id;
CREATE TABLE public.adai_trials (
    id integer NOT NULL,
    study_id integer NOT NULL,
    workload character varying(64) NOT NULL,
    optimizer character varying(64) NOT NULL,
    number integer NOT NULL,
    origin character varying(16) NOT NULL,
    hyperparameters json NOT NULL,
    unit json NOT NULL,
    optuna_trial_id integer NOT NULL
);
CREATE SEQUENCE public.adai_trials_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.adai_trials_id_seq OWNED BY public.adai_trials.id;
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.studies (
    study_id integer NOT NULL,
    study_name character varying(512) NOT NULL
);
CREATE SEQUENCE public.studies_study_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.studies_study_id_seq OWNED BY public.studies.study_id;
CREATE TABLE public.study_directions (
    study_direction_id integer NOT NULL,
    direction public.studydirection NOT NULL,
    study_id integer NOT NULL,
    objective integer NOT NULL
);
CREATE SEQUENCE public.study_directions_study_direction_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.study_directions_study_direction_id_seq OWNED BY public.study_directions.study_direction_id;
CREATE TABLE public.study_system_attributes (
    study_system_attribute_id integer NOT NULL,
    study_id integer,
    key character varying(512),
    value_json text
);
CREATE SEQUENCE public.study_system_attributes_study_system_attribute_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.study_system_attributes_study_system_attribute_id_seq OWNED BY public.study_system_attributes.study_system_attribute_id;
CREATE TABLE public.study_user_attributes (
    study_user_attribute_id integer NOT NULL,
    study_id integer,
    key character varying(512),
    value_json text
);
CREATE SEQUENCE public.study_user_attributes_study_user_attribute_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.study_user_attributes_study_user_attribute_id_seq OWNED BY public.study_user_attributes.study_user_attribute_id;
CREATE TABLE public.trial_heartbeats (
    trial_heartbeat_id integer NOT NULL,
    trial_id integer NOT NULL,
    heartbeat timestamp without time zone NOT NULL
);
CREATE SEQUENCE public.trial_heartbeats_trial_heartbeat_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trial_heartbeats_trial_heartbeat_id_seq OWNED BY public.trial_heartbeats.trial_heartbeat_id;
CREATE TABLE public.trial_intermediate_values (
    trial_intermediate_value_id integer NOT NULL,
    trial_id integer NOT NULL,
    step integer NOT NULL,
    intermediate_value double precision,
    intermediate_value_type public.trialintermediatevaluetype NOT NULL
);
CREATE SEQUENCE public.trial_intermediate_values_trial_intermediate_value_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trial_intermediate_values_trial_intermediate_value_id_seq OWNED BY public.trial_intermediate_values.trial_intermediate_value_id;
CREATE TABLE public.trial_params (
    param_id integer NOT NULL,
    trial_id integer,
    param_name character varying(512),
    param_value double precision,
    distribution_json text
);
CREATE SEQUENCE public.trial_params_param_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trial_params_param_id_seq OWNED BY public.trial_params.param_id;
CREATE TABLE public.trial_system_attributes (
    trial_system_attribute_id integer NOT NULL,
    trial_id integer,
    key character varying(512),
    value_json text
);
CREATE SEQUENCE public.trial_system_attributes_trial_system_attribute_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trial_system_attributes_trial_system_attribute_id_seq OWNED BY public.trial_system_attributes.trial_system_attribute_id;
CREATE TABLE public.trial_user_attributes (
    trial_user_attribute_id integer NOT NULL,
    trial_id integer,
    key character varying(512),
    value_json text
);
CREATE SEQUENCE public.trial_user_attributes_trial_user_attribute_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trial_user_attributes_trial_user_attribute_id_seq OWNED BY public.trial_user_attributes.trial_user_attribute_id;
CREATE TABLE public.trial_values (
    trial_value_id integer NOT NULL,
    trial_id integer NOT NULL,
    objective integer NOT NULL,
    value double precision,
    value_type public.trialvaluetype NOT NULL
);
CREATE SEQUENCE public.trial_values_trial_value_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trial_values_trial_value_id_seq OWNED BY public.trial_values.trial_value_id;
CREATE TABLE public.trials (
    trial_id integer NOT NULL,
    number integer,
    study_id integer,
    state public.trialstate NOT NULL,
    datetime_start timestamp without time zone,
    datetime_complete timestamp without time zone
);
CREATE SEQUENCE public.trials_trial_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trials_trial_id_seq OWNED BY public.trials.trial_id;
CREATE TABLE public.version_info (
    version_info_id integer NOT NULL,
    schema_version integer,
    library_version character varying(256),
    CONSTRAINT version_info_version_info_id_check CHECK ((version_info_id = 1))
);
ALTER TABLE ONLY public.adai_attempts ALTER COLUMN id SET DEFAULT nextval('public.adai_attempts_id_seq'::regclass);
ALTER TABLE ONLY public.adai_environments ALTER COLUMN id SET DEFAULT nextval('public.adai_environments_id_seq'::regclass);
ALTER TABLE ONLY public.adai_runs ALTER COLUMN id SET DEFAULT nextval('public.adai_runs_id_seq'::regclass);
ALTER TABLE ONLY public.adai_studies ALTER COLUMN id SET DEFAULT nextval('public.adai_studies_id_seq'::regclass);
ALTER TABLE ONLY public.adai_trials ALTER COLUMN id SET DEFAULT nextval('public.adai_trials_id_seq'::regclass);
ALTER TABLE ONLY public.studies ALTER COLUMN study_id SET DEFAULT nextval('public.studies_study_id_seq'::regclass);
ALTER TABLE ONLY public.study_directions ALTER COLUMN study_direction_id SET DEFAULT nextval('public.study_directions_study_direction_id_seq'::regclass);
ALTER TABLE ONLY public.study_system_attributes ALTER COLUMN study_system_attribute_id SET DEFAULT nextval('public.study_system_attributes_study_system_attribute_id_seq'::regclass);
ALTER TABLE ONLY public.study_user_attributes ALTER COLUMN study_user_attribute_id SET DEFAULT nextval('public.study_user_attributes_study_user_attribute_id_seq'::regclass);
ALTER TABLE ONLY public.trial_heartbeats ALTER COLUMN trial_heartbeat_id SET DEFAULT nextval('public.trial_heartbeats_trial_heartbeat_id_seq'::regclass);
ALTER TABLE ONLY public.trial_intermediate_values ALTER COLUMN trial_intermediate_value_id SET DEFAULT nextval('public.trial_intermediate_values_trial_intermediate_value_id_seq'::regclass);
ALTER TABLE ONLY public.trial_params ALTER COLUMN param_id SET DEFAULT nextval('public.trial_params_param_id_seq'::regclass);
ALTER TABLE ONLY public.trial_system_attributes ALTER COLUMN trial_system_attribute_id SET DEFAULT nextval('public.trial_system_attributes_trial_system_attribute_id_seq'::regclass);
ALTER TABLE ONLY public.trial_user_attributes ALTER COLUMN trial_user_attribute_id SET DEFAULT nextval('public.trial_user_attributes_trial_user_attribute_id_seq'::regclass);
ALTER TABLE ONLY public.trial_values ALTER COLUMN trial_value_id SET DEFAULT nextval('public.trial_values_trial_value_id_seq'::regclass);
ALTER TABLE ONLY public.trials ALTER COLUMN trial_id SET DEFAULT nextval('public.trials_trial_id_seq'::regclass);
INSERT INTO public.adai_alembic_version VALUES
	('0001');
INSERT INTO public.adai_attempts VALUES
	(1, 1, 'digits-logistic', 'adai', 10, '2026-11-23 00:08:42.169334+00', '2026-11-23 00:08:42.619052+00', 'COMPLETED', NULL, 'inline', 'vm', 16554, 'cpu', 'stacked, compiled step', '2.14.1+cu130'),
	(2, 1, 'digits-logistic', 'sgd', 10, '2026-11-23 00:08:42.174476+00', '2026-11-23 00:08:42.683014+00', 'COMPLETED', NULL, 'inline', 'vm', 16554, 'cpu', 'stacked, compiled step', '2.14.1+cu130'),
	(3, 2, 'digits-logistic', 'adai', 10, '2026-11-23 00:08:42.793399+00', '2026-11-23 00:08:42.844105+00', 'COMPLETED', NULL, 'inline', 'vm', 16554, 'cpu', 'stacked, compiled step', '2.14.1+cu130'),
	(4, 2, 'digits-logistic', 'sgd', 10, '2026-11-23 00:08:42.798653+00', '2026-11-23 00:08:42.852434+00', 'CANCELLED', 'the driver ended before this attempt did', NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.adai_environments VALUES
	(1, '83d8db552465fe0fd67adff252c456449497abb3ed0a18cdd48a5591b76fd444', '{"python": "3.11.7", "platform": "Linux-6.18.44-fc-v595-x86_64-with-glibc2.36", "machine": "x86_64", "processor": "AMD EPYC", "processors": 2, "packages": {"adai-study": "0.1.0", "alembic": "1.20.1", "numpy": "2.4.6", "optuna": "5.0.0", "optuna-dashboard": "0.21.0", "polars": "2.1.0", "ray": "2.60.0", "scikit-learn": "1.9.1", "scipy": "1.17.1", "sqlalchemy": "2.1.9", "torch": "2.14.1", "torchvision": "0.29.1"}, "commit": "dec58bb256cc4647b4b3cf09c20bb99cdad45d37"}');
INSERT INTO public.adai_epochs VALUES
	(1, 1, 1.3124234769717757, 0.6851343512535095, 0.08356545961002786, 1, 0.005418588699831162),
	(2, 1, 1.3021312310145452, 0.6796419620513916, 0.10027855153203342, 1, 0.005418588699831162),
	(3, 1, 2.2535142567115765, 2.158928632736206, 0.7047353760445683, 0.04388427765319105, 0.005418588699831162),
	(4, 1, 2.231244771982145, 2.1538259983062744, 0.6128133704735376, 0.04388427765319105, 0.005418588699831162),
	(5, 1, 4.989927916144529, 0.7585235238075256, 0.17270194986072424, 4.3090606004303105, 0.005418588699831162),
	(6, 1, 1.7241592482353825, 0.850704550743103, 0.20891364902506965, 4.3090606004303105, 0.005418588699831162),
	(7, 1, 6.392234223876649, 0.5632768869400024, 0.08635097493036212, 10.31677368805152, 0.005418588699831162),
	(8, 1, 3.6671957267004656, 0.3357020318508148, 0.0807799442896936, 10.31677368805152, 0.005418588699831162),
	(9, 1, 2.152708530757469, 1.9614206552505493, 0.3983286908077994, 0.10506820532886649, 0.005418588699831162),
	(10, 1, 2.132838227994139, 1.9448871612548828, 0.31197771587743733, 0.10506820532886649, 0.005418588699831162),
	(1, 2, 0.5553388452507811, 0.4589209258556366, 0.07520891364902507, 1, 0.0014131309999356745),
	(2, 2, 0.5487955714178041, 0.4487031102180481, 0.07242339832869081, 1, 0.0014131309999356745),
	(3, 2, 2.1026259146982924, 2.0272433757781982, 0.4568245125348189, 0.04388427765319105, 0.0014131309999356745),
	(4, 2, 2.087240566248359, 2.0186259746551514, 0.40668523676880225, 0.04388427765319105, 0.0014131309999356745),
	(5, 2, 1.221394814585402, 0.8724172115325928, 0.16991643454038996, 4.3090606004303105, 0.0014131309999356745),
	(6, 2, 0.5097061006751074, 0.298456609249115, 0.08356545961002786, 4.3090606004303105, 0.0014131309999356745),
	(7, 2, 0.5304551729733906, 0.4350235164165497, 0.08913649025069638, 10.31677368805152, 0.0014131309999356745),
	(8, 2, 0.5658142328731874, 0.33862993121147156, 0.07799442896935933, 10.31677368805152, 0.0014131309999356745),
	(9, 2, 1.8387457564321241, 1.6888091564178467, 0.20612813370473537, 0.10506820532886649, 0.0014131309999356745),
	(10, 2, 1.8173967278368282, 1.6768187284469604, 0.20055710306406685, 0.10506820532886649, 0.0014131309999356745),
	(11, 1, 1.8209744376977137, 1.0684943199157715, 0.09749303621169916, 0.1, 0.0023547462998976696),
	(12, 1, 1.795538789923264, 1.078128695487976, 0.16434540389972144, 0.1, 0.0023547462998976696),
	(13, 1, 1.4863378150359252, 0.5212763547897339, 0.10584958217270195, 0.19258298251423606, 0.0023547462998976696),
	(14, 1, 1.450075307800551, 0.5246137380599976, 0.08356545961002786, 0.19258298251423606, 0.0023547462998976696),
	(15, 1, 2618.390166599956, 345.3260498046875, 0.32590529247910865, 1856.8003258180756, 0.0023547462998976696),
	(16, 1, 2736.7306992015538, 611.8101196289062, 0.27019498607242337, 1856.8003258180756, 0.0023547462998976696),
	(17, 1, 28106.692690689328, 23889.150390625, 0.30919220055710306, 10643.5819330472, 0.0023547462998976696),
	(18, 1, 39191.27633290826, 34276.24609375, 0.5543175487465181, 10643.5819330472, 0.0023547462998976696),
	(19, 1, 0.8872684875332282, 0.23542660474777222, 0.06963788300835655, 1.1039327771028835, 0.0023547462998976696),
	(20, 1, 0.9037926551696877, 0.2537042200565338, 0.07799442896935933, 1.1039327771028835, 0.0023547462998976696),
	(11, 2, 0.7558313415932147, 0.5525683760643005, 0.09192200557103064, 0.1, 0.001368352166537079),
	(12, 2, 0.7394114928846562, 0.5223634839057922, 0.07520891364902507, 0.1, 0.001368352166537079),
	(13, 2, 0.37008445441336185, 0.2746088206768036, 0.06963788300835655, 0.19258298251423606, 0.001368352166537079),
	(14, 2, 0.345221856424276, 0.28017422556877136, 0.08635097493036212, 0.19258298251423606, 0.001368352166537079),
	(19, 2, 0.21553781346881468, 0.19614186882972717, 0.04735376044568245, 1.1039327771028835, 0.001368352166537079),
	(20, 2, 0.21886157688440494, 0.17276336252689362, 0.052924791086350974, 1.1039327771028835, 0.001368352166537079),
	(21, 1, 1.3124234769717757, 0.6851343512535095, 0.08356545961002786, 1, 0.0010034360002464382),
	(22, 1, 1.3021312310145452, 0.6796419620513916, 0.10027855153203342, 1, 0.0010034360002464382),
	(23, 1, 2.2535142567115765, 2.158928632736206, 0.7047353760445683, 0.04388427765319105, 0.0010034360002464382),
	(24, 1, 2.231244771982145, 2.1538259983062744, 0.6128133704735376, 0.04388427765319105, 0.0010034360002464382),
	(25, 1, 4.989927916144529, 0.7585235238075256, 0.17270194986072424, 4.3090606004303105, 0.0010034360002464382),
	(26, 1, 1.7241592482353825, 0.850704550743103, 0.20891364902506965, 4.3090606004303105, 0.0010034360002464382),
	(27, 1, 6.392234223876649, 0.5632768869400024, 0.08635097493036212, 10.31677368805152, 0.0010034360002464382),
	(28, 1, 3.6671957267004656, 0.3357020318508148, 0.0807799442896936, 10.31677368805152, 0.0010034360002464382),
	(29, 1, 2.152708530757469, 1.9614206552505493, 0.3983286908077994, 0.10506820532886649, 0.0010034360002464382),
	(30, 1, 2.132838227994139, 1.9448871612548828, 0.31197771587743733, 0.10506820532886649, 0.0010034360002464382),
	(21, 2, 0.5553388452507811, 0.4589209258556366, 0.07520891364902507, 1, 0.0009839890997682232),
	(22, 2, 0.5487955714178041, 0.4487031102180481, 0.07242339832869081, 1, 0.0009839890997682232),
	(23, 2, 2.1026259146982924, 2.0272433757781982, 0.4568245125348189, 0.04388427765319105, 0.0009839890997682232),
	(24, 2, 2.087240566248359, 2.0186259746551514, 0.40668523676880225, 0.04388427765319105, 0.0009839890997682232);
INSERT INTO public.adai_epochs VALUES
	(25, 2, 1.221394814585402, 0.8724172115325928, 0.16991643454038996, 4.3090606004303105, 0.0009839890997682232),
	(26, 2, 0.5097061006751074, 0.298456609249115, 0.08356545961002786, 4.3090606004303105, 0.0009839890997682232),
	(27, 2, 0.5304551729733906, 0.4350235164165497, 0.08913649025069638, 10.31677368805152, 0.0009839890997682232),
	(28, 2, 0.5658142328731874, 0.33862993121147156, 0.07799442896935933, 10.31677368805152, 0.0009839890997682232),
	(29, 2, 1.8387457564321241, 1.6888091564178467, 0.20612813370473537, 0.10506820532886649, 0.0009839890997682232),
	(30, 2, 1.8173967278368282, 1.6768187284469604, 0.20055710306406685, 0.10506820532886649, 0.0009839890997682232);
INSERT INTO public.adai_runs VALUES
	(1, 1, 0, 'COMPLETED', '', 2, 0.07520891364902507, false, 0.5553388452507811, 0.4589209258556366, 0.07520891364902507, 0.5066365599632263, 0.10584958217270195, 0.0068317196997668365, 1),
	(2, 1, 1, 'COMPLETED', '', 2, 0.07242339832869081, false, 0.5487955714178041, 0.4487031102180481, 0.07242339832869081, 0.4826447665691376, 0.10027855153203342, 0.0068317196997668365, 1),
	(3, 2, 0, 'COMPLETED', '', 2, 0.4568245125348189, false, 2.1026259146982924, 2.0272433757781982, 0.4568245125348189, 2.0374531745910645, 0.5153203342618384, 0.0068317196997668365, 1),
	(4, 2, 1, 'COMPLETED', '', 2, 0.40668523676880225, false, 2.087240566248359, 2.0186259746551514, 0.40668523676880225, 2.0155463218688965, 0.3788300835654596, 0.0068317196997668365, 1),
	(5, 3, 0, 'COMPLETED', '', 2, 0.16991643454038996, false, 1.221394814585402, 0.8724172115325928, 0.16991643454038996, 1.026610016822815, 0.20055710306406685, 0.0068317196997668365, 1),
	(6, 3, 1, 'COMPLETED', '', 2, 0.08356545961002786, false, 0.5097061006751074, 0.298456609249115, 0.08356545961002786, 0.3963578939437866, 0.10027855153203342, 0.0068317196997668365, 1),
	(7, 4, 0, 'COMPLETED', '', 2, 0.08913649025069638, false, 0.5304551729733906, 0.4350235164165497, 0.08913649025069638, 0.6195672750473022, 0.10027855153203342, 0.0068317196997668365, 1),
	(8, 4, 1, 'COMPLETED', '', 2, 0.07799442896935933, false, 0.5658142328731874, 0.33862993121147156, 0.07799442896935933, 0.5127792358398438, 0.10306406685236769, 0.0068317196997668365, 1),
	(9, 5, 0, 'COMPLETED', '', 2, 0.20612813370473537, false, 1.8387457564321241, 1.6888091564178467, 0.20612813370473537, 1.708754301071167, 0.19498607242339833, 0.0068317196997668365, 1),
	(10, 5, 1, 'COMPLETED', '', 2, 0.20055710306406685, false, 1.8173967278368282, 1.6768187284469604, 0.20055710306406685, 1.686240553855896, 0.21448467966573817, 0.0068317196997668365, 1),
	(11, 6, 0, 'COMPLETED', '', 2, 0.09192200557103064, false, 0.7558313415932147, 0.5525683760643005, 0.09192200557103064, 0.5760534405708313, 0.12256267409470752, 0.0037230984664347487, 2),
	(12, 6, 1, 'COMPLETED', '', 2, 0.07520891364902507, false, 0.7394114928846562, 0.5223634839057922, 0.07520891364902507, 0.5495145916938782, 0.10306406685236769, 0.0037230984664347487, 2),
	(13, 7, 0, 'COMPLETED', '', 2, 0.06963788300835655, false, 0.37008445441336185, 0.2746088206768036, 0.06963788300835655, 0.3112203776836395, 0.10584958217270195, 0.0037230984664347487, 2),
	(14, 7, 1, 'COMPLETED', '', 2, 0.08635097493036212, false, 0.345221856424276, 0.28017422556877136, 0.08635097493036212, 0.31203940510749817, 0.10584958217270195, 0.0037230984664347487, 2),
	(15, 8, 0, 'DIVERGED', 'training loss 2618 exceeded the ceiling 1000', 1, 0.9, true, 2618.390166599956, 345.3260498046875, 0.32590529247910865, NULL, NULL, 0.0023547462998976696, 2),
	(16, 8, 1, 'DIVERGED', 'training loss 2737 exceeded the ceiling 1000', 1, 0.9, true, 2736.7306992015538, 611.8101196289062, 0.27019498607242337, NULL, NULL, 0.0023547462998976696, 2),
	(17, 9, 0, 'DIVERGED', 'training loss 2.811e+04 exceeded the ceiling 1000', 1, 0.9, true, 28106.692690689328, 23889.150390625, 0.30919220055710306, NULL, NULL, 0.0023547462998976696, 2),
	(18, 9, 1, 'DIVERGED', 'training loss 3.919e+04 exceeded the ceiling 1000', 1, 0.9, true, 39191.27633290826, 34276.24609375, 0.5543175487465181, NULL, NULL, 0.0023547462998976696, 2),
	(19, 10, 0, 'COMPLETED', '', 2, 0.04735376044568245, false, 0.21553781346881468, 0.19614186882972717, 0.04735376044568245, 0.2634413540363312, 0.09192200557103064, 0.0037230984664347487, 2),
	(20, 10, 1, 'COMPLETED', '', 2, 0.052924791086350974, false, 0.21886157688440494, 0.17276336252689362, 0.052924791086350974, 0.2189718633890152, 0.07242339832869081, 0.0037230984664347487, 2),
	(31, 16, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	(32, 16, 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	(33, 17, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	(34, 17, 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	(35, 18, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	(36, 18, 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	(37, 19, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	(38, 19, 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	(39, 20, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	(40, 20, 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	(21, 11, 0, 'COMPLETED', '', 2, 0.07520891364902507, false, 0.5553388452507811, 0.4589209258556366, 0.07520891364902507, 0.5066365599632263, 0.10584958217270195, 0.0019874251000146616, 3),
	(22, 11, 1, 'COMPLETED', '', 2, 0.07242339832869081, false, 0.5487955714178041, 0.4487031102180481, 0.07242339832869081, 0.4826447665691376, 0.10027855153203342, 0.0019874251000146616, 3),
	(23, 12, 0, 'COMPLETED', '', 2, 0.4568245125348189, false, 2.1026259146982924, 2.0272433757781982, 0.4568245125348189, 2.0374531745910645, 0.5153203342618384, 0.0019874251000146616, 3),
	(24, 12, 1, 'COMPLETED', '', 2, 0.40668523676880225, false, 2.087240566248359, 2.0186259746551514, 0.40668523676880225, 2.0155463218688965, 0.3788300835654596, 0.0019874251000146616, 3),
	(25, 13, 0, 'COMPLETED', '', 2, 0.16991643454038996, false, 1.221394814585402, 0.8724172115325928, 0.16991643454038996, 1.026610016822815, 0.20055710306406685, 0.0019874251000146616, 3),
	(26, 13, 1, 'COMPLETED', '', 2, 0.08356545961002786, false, 0.5097061006751074, 0.298456609249115, 0.08356545961002786, 0.3963578939437866, 0.10027855153203342, 0.0019874251000146616, 3),
	(27, 14, 0, 'COMPLETED', '', 2, 0.08913649025069638, false, 0.5304551729733906, 0.4350235164165497, 0.08913649025069638, 0.6195672750473022, 0.10027855153203342, 0.0019874251000146616, 3),
	(28, 14, 1, 'COMPLETED', '', 2, 0.07799442896935933, false, 0.5658142328731874, 0.33862993121147156, 0.07799442896935933, 0.5127792358398438, 0.10306406685236769, 0.0019874251000146616, 3),
	(29, 15, 0, 'COMPLETED', '', 2, 0.20612813370473537, false, 1.8387457564321241, 1.6888091564178467, 0.20612813370473537, 1.708754301071167, 0.19498607242339833, 0.0019874251000146616, 3),
	(30, 15, 1, 'COMPLETED', '', 2, 0.20055710306406685, false, 1.8173967278368282, 1.6768187284469604, 0.20055710306406685, 1.686240553855896, 0.21448467966573817, 0.0019874251000146616, 3);
INSERT INTO public.adai_studies VALUES
	(1, 'finished', '{"name": "finished", "description": "", "workloads": ["digits-logistic"], "optimizers": [{"name": "adai", "axes": {"lr": {"low": 0.01, "high": 100.0, "scale": "log"}, "beta0": {"low": 0.01, "high": 1.0, "scale": "log"}, "beta2": {"low": 0.0, "high": 0.9999, "scale": "log1m"}}, "fixed": {}, "options": {}}, {"name": "sgd", "axes": {"lr": {"low": 0.01, "high": 1000000.0, "scale": "log"}, "momentum": {"low": 0.0, "high": 0.99, "scale": "log1m"}}, "fixed": {}, "options": {}}], "design": {"kind": "sobol", "points": 4}, "seeds": 2, "study_seed": 7, "epochs": 2, "objective": "val_error"}', '4f3efdb346c9513f881500c91aff6697402f2b2103e744c05839843c0d06a940', 'completed', NULL, 1, '2026-11-23 00:08:42.09549+00', '2026-11-23 00:08:42.693984+00'),
	(2, 'interrupted', '{"name": "interrupted", "description": "", "workloads": ["digits-logistic"], "optimizers": [{"name": "adai", "axes": {"lr": {"low": 0.01, "high": 100.0, "scale": "log"}, "beta0": {"low": 0.01, "high": 1.0, "scale": "log"}, "beta2": {"low": 0.0, "high": 0.9999, "scale": "log1m"}}, "fixed": {}, "options": {}}, {"name": "sgd", "axes": {"lr": {"low": 0.01, "high": 1000000.0, "scale": "log"}, "momentum": {"low": 0.0, "high": 0.99, "scale": "log1m"}}, "fixed": {}, "options": {}}], "design": {"kind": "sobol", "points": 4}, "seeds": 2, "study_seed": 7, "epochs": 2, "objective": "val_error"}', 'da6419fde83befc948ae8e8ab10ff1f3d0777008477b0e0333dec96c5eb80d93', 'interrupted', NULL, 1, '2026-11-23 00:08:42.723925+00', NULL);
INSERT INTO public.adai_trials VALUES
	(1, 1, 'digits-logistic', 'adai', 0, 'default', '{"lr": 1.0, "beta0": 0.1, "beta2": 0.99, "eps": 0.001, "weight_decay": 0.0}', '{"lr": 0.4999999999999999, "beta0": 0.5, "beta2": 0.49999999999999395}', 1),
	(2, 1, 'digits-logistic', 'adai', 1, 'design', '{"lr": 0.04388427765319105, "beta0": 0.1917491871832182, "beta2": 0.9124764355339132, "eps": 0.001, "weight_decay": 0.0}', '{"lr": 0.16057723853737116, "beta0": 0.6413667658343911, "beta2": 0.2644687509164214}', 2),
	(3, 1, 'digits-logistic', 'adai', 2, 'design', '{"lr": 4.3090606004303105, "beta0": 0.010273241991149496, "beta2": 0.9993837461636093, "eps": 0.001, "weight_decay": 0.0}', '{"lr": 0.6585956504568458, "beta0": 0.005853759124875069, "beta2": 0.8025600910186768}', 3),
	(4, 1, 'digits-logistic', 'adai', 3, 'design', '{"lr": 10.31677368805152, "beta0": 0.35472940174333395, "beta2": 0.7555049364408178, "eps": 0.001, "weight_decay": 0.0}', '{"lr": 0.7533859759569168, "beta0": 0.7749485932290554, "beta2": 0.15293247625231743}', 4),
	(5, 1, 'digits-logistic', 'adai', 4, 'design', '{"lr": 0.10506820532886649, "beta0": 0.05953704903036894, "beta2": 0.997785256365974, "eps": 0.001, "weight_decay": 0.0}', '{"lr": 0.2553678285330534, "beta0": 0.3873936524614692, "beta2": 0.6636691344901919}', 5),
	(6, 1, 'digits-logistic', 'sgd', 0, 'default', '{"lr": 0.1, "momentum": 0.9, "weight_decay": 0.0}', '{"lr": 0.125, "momentum": 0.5000000000000001}', 6),
	(7, 1, 'digits-logistic', 'sgd', 1, 'design', '{"lr": 0.19258298251423606, "momentum": 0.947848540341165, "weight_decay": 0.0}', '{"lr": 0.16057723853737116, "momentum": 0.6413667658343911}', 7),
	(8, 1, 'digits-logistic', 'sgd', 2, 'design', '{"lr": 1856.8003258180756, "momentum": 0.026597445225654437, "weight_decay": 0.0}', '{"lr": 0.6585956504568458, "momentum": 0.005853759124875069}', 8),
	(9, 1, 'digits-logistic', 'sgd', 3, 'design', '{"lr": 10643.5819330472, "momentum": 0.9718094977443241, "weight_decay": 0.0}', '{"lr": 0.7533859759569168, "momentum": 0.7749485932290554}', 9),
	(10, 1, 'digits-logistic', 'sgd', 4, 'design', '{"lr": 1.1039327771028835, "momentum": 0.8320373588738139, "weight_decay": 0.0}', '{"lr": 0.2553678285330534, "momentum": 0.3873936524614692}', 10),
	(11, 2, 'digits-logistic', 'adai', 0, 'default', '{"lr": 1.0, "beta0": 0.1, "beta2": 0.99, "eps": 0.001, "weight_decay": 0.0}', '{"lr": 0.4999999999999999, "beta0": 0.5, "beta2": 0.49999999999999395}', 11),
	(12, 2, 'digits-logistic', 'adai', 1, 'design', '{"lr": 0.04388427765319105, "beta0": 0.1917491871832182, "beta2": 0.9124764355339132, "eps": 0.001, "weight_decay": 0.0}', '{"lr": 0.16057723853737116, "beta0": 0.6413667658343911, "beta2": 0.2644687509164214}', 12),
	(13, 2, 'digits-logistic', 'adai', 2, 'design', '{"lr": 4.3090606004303105, "beta0": 0.010273241991149496, "beta2": 0.9993837461636093, "eps": 0.001, "weight_decay": 0.0}', '{"lr": 0.6585956504568458, "beta0": 0.005853759124875069, "beta2": 0.8025600910186768}', 13),
	(14, 2, 'digits-logistic', 'adai', 3, 'design', '{"lr": 10.31677368805152, "beta0": 0.35472940174333395, "beta2": 0.7555049364408178, "eps": 0.001, "weight_decay": 0.0}', '{"lr": 0.7533859759569168, "beta0": 0.7749485932290554, "beta2": 0.15293247625231743}', 14),
	(15, 2, 'digits-logistic', 'adai', 4, 'design', '{"lr": 0.10506820532886649, "beta0": 0.05953704903036894, "beta2": 0.997785256365974, "eps": 0.001, "weight_decay": 0.0}', '{"lr": 0.2553678285330534, "beta0": 0.3873936524614692, "beta2": 0.6636691344901919}', 15),
	(16, 2, 'digits-logistic', 'sgd', 0, 'default', '{"lr": 0.1, "momentum": 0.9, "weight_decay": 0.0}', '{"lr": 0.125, "momentum": 0.5000000000000001}', 16),
	(17, 2, 'digits-logistic', 'sgd', 1, 'design', '{"lr": 0.19258298251423606, "momentum": 0.947848540341165, "weight_decay": 0.0}', '{"lr": 0.16057723853737116, "momentum": 0.6413667658343911}', 17),
	(18, 2, 'digits-logistic', 'sgd', 2, 'design', '{"lr": 1856.8003258180756, "momentum": 0.026597445225654437, "weight_decay": 0.0}', '{"lr": 0.6585956504568458, "momentum": 0.005853759124875069}', 18),
	(19, 2, 'digits-logistic', 'sgd', 3, 'design', '{"lr": 10643.5819330472, "momentum": 0.9718094977443241, "weight_decay": 0.0}', '{"lr": 0.7533859759569168, "momentum": 0.7749485932290554}', 19),
	(20, 2, 'digits-logistic', 'sgd', 4, 'design', '{"lr": 1.1039327771028835, "momentum": 0.8320373588738139, "weight_decay": 0.0}', '{"lr": 0.2553678285330534, "momentum": 0.3873936524614692}', 20);
INSERT INTO public.alembic_version VALUES
	('v3.2.0.a');
INSERT INTO public.studies VALUES
	(1, 'finished/digits-logistic/adai'),
	(2, 'finished/digits-logistic/sgd'),
	(3, 'interrupted/digits-logistic/adai'),
	(4, 'interrupted/digits-logistic/sgd');
INSERT INTO public.study_directions VALUES
	(1, 'MINIMIZE', 1, 0),
	(2, 'MINIMIZE', 2, 0),
	(3, 'MINIMIZE', 3, 0),
	(4, 'MINIMIZE', 4, 0);
INSERT INTO public.study_system_attributes VALUES
	(1, 1, 'study:metric_names', '["val_error"]'),
	(2, 2, 'study:metric_names', '["val_error"]'),
	(3, 3, 'study:metric_names', '["val_error"]'),
	(4, 4, 'study:metric_names', '["val_error"]');
INSERT INTO public.study_user_attributes VALUES
	(1, 1, 'study', '"finished"'),
	(2, 1, 'workload', '"digits-logistic"'),
	(3, 1, 'optimizer', '"adai"'),
	(4, 2, 'study', '"finished"'),
	(5, 2, 'workload', '"digits-logistic"'),
	(6, 2, 'optimizer', '"sgd"'),
	(7, 3, 'study', '"interrupted"'),
	(8, 3, 'workload', '"digits-logistic"'),
	(9, 3, 'optimizer', '"adai"'),
	(10, 4, 'study', '"interrupted"'),
	(11, 4, 'workload', '"digits-logistic"'),
	(12, 4, 'optimizer', '"sgd"');
INSERT INTO public.trial_intermediate_values VALUES
	(1, 1, 1, 0.09192200557103064, 'FINITE'),
	(2, 2, 1, 0.658774373259053, 'FINITE'),
	(3, 3, 1, 0.19080779944289694, 'FINITE'),
	(4, 4, 1, 0.08356545961002786, 'FINITE'),
	(5, 5, 1, 0.35515320334261835, 'FINITE'),
	(6, 1, 2, 0.07381615598885793, 'FINITE'),
	(7, 2, 2, 0.4317548746518106, 'FINITE'),
	(8, 3, 2, 0.12674094707520892, 'FINITE'),
	(9, 4, 2, 0.08356545961002786, 'FINITE'),
	(10, 5, 2, 0.2033426183844011, 'FINITE'),
	(11, 6, 1, 0.1309192200557103, 'FINITE'),
	(12, 7, 1, 0.0947075208913649, 'FINITE'),
	(13, 8, 1, 0.9, 'FINITE'),
	(14, 9, 1, 0.9, 'FINITE'),
	(15, 10, 1, 0.07381615598885793, 'FINITE'),
	(16, 6, 2, 0.08356545961002786, 'FINITE'),
	(17, 7, 2, 0.07799442896935933, 'FINITE'),
	(18, 10, 2, 0.05013927576601671, 'FINITE'),
	(19, 11, 1, 0.09192200557103064, 'FINITE'),
	(20, 12, 1, 0.658774373259053, 'FINITE'),
	(21, 13, 1, 0.19080779944289694, 'FINITE'),
	(22, 14, 1, 0.08356545961002786, 'FINITE'),
	(23, 15, 1, 0.35515320334261835, 'FINITE'),
	(24, 11, 2, 0.07381615598885793, 'FINITE'),
	(25, 12, 2, 0.4317548746518106, 'FINITE'),
	(26, 13, 2, 0.12674094707520892, 'FINITE'),
	(27, 14, 2, 0.08356545961002786, 'FINITE'),
	(28, 15, 2, 0.2033426183844011, 'FINITE');
INSERT INTO public.trial_params VALUES
	(1, 1, 'lr', 1, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 100.0, "log": true}}'),
	(2, 1, 'beta0', 0.1, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 1.0, "log": true}}'),
	(3, 1, 'beta2', 0.99, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.9999, "log": false}}'),
	(4, 2, 'lr', 0.04388427765319105, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 100.0, "log": true}}'),
	(5, 2, 'beta0', 0.1917491871832182, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 1.0, "log": true}}'),
	(6, 2, 'beta2', 0.9124764355339132, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.9999, "log": false}}'),
	(7, 3, 'lr', 4.3090606004303105, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 100.0, "log": true}}'),
	(8, 3, 'beta0', 0.010273241991149496, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 1.0, "log": true}}'),
	(9, 3, 'beta2', 0.9993837461636093, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.9999, "log": false}}'),
	(10, 4, 'lr', 10.31677368805152, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 100.0, "log": true}}'),
	(11, 4, 'beta0', 0.35472940174333395, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 1.0, "log": true}}'),
	(12, 4, 'beta2', 0.7555049364408178, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.9999, "log": false}}'),
	(13, 5, 'lr', 0.10506820532886649, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 100.0, "log": true}}'),
	(14, 5, 'beta0', 0.05953704903036894, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 1.0, "log": true}}'),
	(15, 5, 'beta2', 0.997785256365974, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.9999, "log": false}}'),
	(16, 6, 'lr', 0.1, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 1000000.0, "log": true}}'),
	(17, 6, 'momentum', 0.9, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.99, "log": false}}'),
	(18, 7, 'lr', 0.19258298251423606, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 1000000.0, "log": true}}'),
	(19, 7, 'momentum', 0.947848540341165, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.99, "log": false}}'),
	(20, 8, 'lr', 1856.8003258180756, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 1000000.0, "log": true}}'),
	(21, 8, 'momentum', 0.026597445225654437, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.99, "log": false}}'),
	(22, 9, 'lr', 10643.5819330472, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 1000000.0, "log": true}}'),
	(23, 9, 'momentum', 0.9718094977443241, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.99, "log": false}}'),
	(24, 10, 'lr', 1.1039327771028835, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 1000000.0, "log": true}}'),
	(25, 10, 'momentum', 0.8320373588738139, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.99, "log": false}}'),
	(26, 11, 'lr', 1, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 100.0, "log": true}}'),
	(27, 11, 'beta0', 0.1, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 1.0, "log": true}}'),
	(28, 11, 'beta2', 0.99, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.9999, "log": false}}'),
	(29, 12, 'lr', 0.04388427765319105, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 100.0, "log": true}}'),
	(30, 12, 'beta0', 0.1917491871832182, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 1.0, "log": true}}'),
	(31, 12, 'beta2', 0.9124764355339132, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.9999, "log": false}}'),
	(32, 13, 'lr', 4.3090606004303105, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 100.0, "log": true}}'),
	(33, 13, 'beta0', 0.010273241991149496, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 1.0, "log": true}}'),
	(34, 13, 'beta2', 0.9993837461636093, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.9999, "log": false}}'),
	(35, 14, 'lr', 10.31677368805152, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 100.0, "log": true}}'),
	(36, 14, 'beta0', 0.35472940174333395, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 1.0, "log": true}}'),
	(37, 14, 'beta2', 0.7555049364408178, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.9999, "log": false}}'),
	(38, 15, 'lr', 0.10506820532886649, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 100.0, "log": true}}'),
	(39, 15, 'beta0', 0.05953704903036894, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 1.0, "log": true}}'),
	(40, 15, 'beta2', 0.997785256365974, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.9999, "log": false}}'),
	(41, 16, 'lr', 0.1, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 1000000.0, "log": true}}'),
	(42, 16, 'momentum', 0.9, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.99, "log": false}}'),
	(43, 17, 'lr', 0.19258298251423606, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 1000000.0, "log": true}}'),
	(44, 17, 'momentum', 0.947848540341165, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.99, "log": false}}'),
	(45, 18, 'lr', 1856.8003258180756, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 1000000.0, "log": true}}'),
	(46, 18, 'momentum', 0.026597445225654437, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.99, "log": false}}'),
	(47, 19, 'lr', 10643.5819330472, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 1000000.0, "log": true}}'),
	(48, 19, 'momentum', 0.9718094977443241, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.99, "log": false}}'),
	(49, 20, 'lr', 1.1039327771028835, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 1000000.0, "log": true}}'),
	(50, 20, 'momentum', 0.8320373588738139, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.99, "log": false}}');
INSERT INTO public.trial_user_attributes VALUES
	(1, 1, 'origin', '"default"'),
	(2, 2, 'origin', '"design"'),
	(3, 3, 'origin', '"design"'),
	(4, 4, 'origin', '"design"'),
	(5, 5, 'origin', '"design"'),
	(6, 6, 'origin', '"default"'),
	(7, 7, 'origin', '"design"'),
	(8, 8, 'origin', '"design"'),
	(9, 9, 'origin', '"design"'),
	(10, 10, 'origin', '"design"'),
	(11, 1, 'seeds', '2'),
	(12, 1, 'diverged', '0'),
	(13, 1, 'test_error', '0.10306406685236769'),
	(14, 2, 'seeds', '2'),
	(15, 2, 'diverged', '0'),
	(16, 2, 'test_error', '0.44707520891364905'),
	(17, 3, 'seeds', '2'),
	(18, 3, 'diverged', '0'),
	(19, 3, 'test_error', '0.15041782729805014'),
	(20, 4, 'seeds', '2'),
	(21, 4, 'diverged', '0'),
	(22, 4, 'test_error', '0.10167130919220055'),
	(23, 5, 'seeds', '2'),
	(24, 5, 'diverged', '0'),
	(25, 5, 'test_error', '0.20473537604456826'),
	(26, 6, 'seeds', '2'),
	(27, 6, 'diverged', '0'),
	(28, 6, 'test_error', '0.1128133704735376'),
	(29, 7, 'seeds', '2'),
	(30, 7, 'diverged', '0'),
	(31, 7, 'test_error', '0.10584958217270195'),
	(32, 8, 'seeds', '2'),
	(33, 8, 'diverged', '2'),
	(34, 9, 'seeds', '2'),
	(35, 9, 'diverged', '2'),
	(36, 10, 'seeds', '2'),
	(37, 10, 'diverged', '0'),
	(38, 10, 'test_error', '0.08217270194986073'),
	(39, 11, 'origin', '"default"'),
	(40, 12, 'origin', '"design"'),
	(41, 13, 'origin', '"design"'),
	(42, 14, 'origin', '"design"'),
	(43, 15, 'origin', '"design"'),
	(44, 16, 'origin', '"default"'),
	(45, 17, 'origin', '"design"'),
	(46, 18, 'origin', '"design"'),
	(47, 19, 'origin', '"design"'),
	(48, 20, 'origin', '"design"'),
	(49, 11, 'seeds', '2'),
	(50, 11, 'diverged', '0');
INSERT INTO public.trial_user_attributes VALUES
	(51, 11, 'test_error', '0.10306406685236769'),
	(52, 12, 'seeds', '2'),
	(53, 12, 'diverged', '0'),
	(54, 12, 'test_error', '0.44707520891364905'),
	(55, 13, 'seeds', '2'),
	(56, 13, 'diverged', '0'),
	(57, 13, 'test_error', '0.15041782729805014'),
	(58, 14, 'seeds', '2'),
	(59, 14, 'diverged', '0'),
	(60, 14, 'test_error', '0.10167130919220055'),
	(61, 15, 'seeds', '2'),
	(62, 15, 'diverged', '0'),
	(63, 15, 'test_error', '0.20473537604456826');
INSERT INTO public.trial_values VALUES
	(1, 1, 0, 0.07381615598885793, 'FINITE'),
	(2, 2, 0, 0.4317548746518106, 'FINITE'),
	(3, 3, 0, 0.12674094707520892, 'FINITE'),
	(4, 4, 0, 0.08356545961002786, 'FINITE'),
	(5, 5, 0, 0.2033426183844011, 'FINITE'),
	(6, 6, 0, 0.08356545961002786, 'FINITE'),
	(7, 7, 0, 0.07799442896935933, 'FINITE'),
	(8, 8, 0, 0.9, 'FINITE'),
	(9, 9, 0, 0.9, 'FINITE'),
	(10, 10, 0, 0.05013927576601671, 'FINITE'),
	(11, 11, 0, 0.07381615598885793, 'FINITE'),
	(12, 12, 0, 0.4317548746518106, 'FINITE'),
	(13, 13, 0, 0.12674094707520892, 'FINITE'),
	(14, 14, 0, 0.08356545961002786, 'FINITE'),
	(15, 15, 0, 0.2033426183844011, 'FINITE');
INSERT INTO public.trials VALUES
	(1, 0, 1, 'COMPLETE', '2026-11-23 00:08:42.162419', '2026-11-23 00:08:42.634768'),
	(2, 1, 1, 'COMPLETE', '2026-11-23 00:08:42.162419', '2026-11-23 00:08:42.634768'),
	(3, 2, 1, 'COMPLETE', '2026-11-23 00:08:42.162419', '2026-11-23 00:08:42.634768'),
	(4, 3, 1, 'COMPLETE', '2026-11-23 00:08:42.162419', '2026-11-23 00:08:42.634768'),
	(5, 4, 1, 'COMPLETE', '2026-11-23 00:08:42.162419', '2026-11-23 00:08:42.634768'),
	(6, 0, 2, 'COMPLETE', '2026-11-23 00:08:42.17076', '2026-11-23 00:08:42.685633'),
	(7, 1, 2, 'COMPLETE', '2026-11-23 00:08:42.17076', '2026-11-23 00:08:42.685633'),
	(8, 2, 2, 'COMPLETE', '2026-11-23 00:08:42.17076', '2026-11-23 00:08:42.685633'),
	(9, 3, 2, 'COMPLETE', '2026-11-23 00:08:42.17076', '2026-11-23 00:08:42.685633'),
	(10, 4, 2, 'COMPLETE', '2026-11-23 00:08:42.17076', '2026-11-23 00:08:42.685633'),
	(11, 0, 3, 'COMPLETE', '2026-11-23 00:08:42.788029', '2026-11-23 00:08:42.850433'),
	(12, 1, 3, 'COMPLETE', '2026-11-23 00:08:42.788029', '2026-11-23 00:08:42.850433'),
	(13, 2, 3, 'COMPLETE', '2026-11-23 00:08:42.788029', '2026-11-23 00:08:42.850433'),
	(14, 3, 3, 'COMPLETE', '2026-11-23 00:08:42.788029', '2026-11-23 00:08:42.850433'),
	(15, 4, 3, 'COMPLETE', '2026-11-23 00:08:42.788029', '2026-11-23 00:08:42.850433'),
	(16, 0, 4, 'WAITING', NULL, NULL),
	(17, 1, 4, 'WAITING', NULL, NULL),
	(18, 2, 4, 'WAITING', NULL, NULL),
	(19, 3, 4, 'WAITING', NULL, NULL),
	(20, 4, 4, 'WAITING', NULL, NULL);
INSERT INTO public.version_info VALUES
	(1, 12, '5.0.0');
SELECT pg_catalog.setval('public.adai_attempts_id_seq', 4, true);
SELECT pg_catalog.setval('public.adai_environments_id_seq', 1, true);
SELECT pg_catalog.setval('public.adai_runs_id_seq', 40, true);
SELECT pg_catalog.setval('public.adai_studies_id_seq', 2, true);
SELECT pg_catalog.setval('public.adai_trials_id_seq', 20, true);
SELECT pg_catalog.setval('public.studies_study_id_seq', 4, true);
SELECT pg_catalog.setval('public.study_directions_study_direction_id_seq', 4, true);
SELECT pg_catalog.setval('public.study_system_attributes_study_system_attribute_id_seq', 4, true);
SELECT pg_catalog.setval('public.study_user_attributes_study_user_attribute_id_seq', 12, true);
SELECT pg_catalog.setval('public.trial_heartbeats_trial_heartbeat_id_seq', 1, false);
SELECT pg_catalog.setval('public.trial_intermediate_values_trial_intermediate_value_id_seq', 28, true);
SELECT pg_catalog.setval('public.trial_params_param_id_seq', 50, true);
SELECT pg_catalog.setval('public.trial_system_attributes_trial_system_attribute_id_seq', 1, false);
SELECT pg_catalog.setval('public.trial_user_attributes_trial_user_attribute_id_seq', 63, true);
SELECT pg_catalog.setval('public.trial_values_trial_value_id_seq', 15, true);
SELECT pg_catalog.setval('public.trials_trial_id_seq', 20, true);
ALTER TABLE ONLY public.adai_alembic_version
    ADD CONSTRAINT adai_alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.adai_attempts
    ADD CONSTRAINT pk_adai_attempts PRIMARY KEY (id);
ALTER TABLE ONLY public.adai_environments
    ADD CONSTRAINT pk_adai_environments PRIMARY KEY (id);
ALTER TABLE ONLY public.adai_epochs
    ADD CONSTRAINT pk_adai_epochs PRIMARY KEY (run_id, epoch);
ALTER TABLE ONLY public.adai_runs
    ADD CONSTRAINT pk_adai_runs PRIMARY KEY (id);
ALTER TABLE ONLY public.adai_studies
    ADD CONSTRAINT pk_adai_studies PRIMARY KEY (id);
ALTER TABLE ONLY public.adai_trials
    ADD CONSTRAINT pk_adai_trials PRIMARY KEY (id);
ALTER TABLE ONLY public.studies
    ADD CONSTRAINT studies_pkey PRIMARY KEY (study_id);
ALTER TABLE ONLY public.study_directions
    ADD CONSTRAINT study_directions_pkey PRIMARY KEY (study_direction_id);
ALTER TABLE ONLY public.study_directions
    ADD CONSTRAINT study_directions_study_id_objective_key UNIQUE (study_id, objective);
ALTER TABLE ONLY public.study_system_attributes
    ADD CONSTRAINT study_system_attributes_pkey PRIMARY KEY (study_system_attribute_id);
ALTER TABLE ONLY public.study_system_attributes
    ADD CONSTRAINT study_system_attributes_study_id_key_key UNIQUE (study_id, key);
ALTER TABLE ONLY public.study_user_attributes
    ADD CONSTRAINT study_user_attributes_pkey PRIMARY KEY (study_user_attribute_id);
ALTER TABLE ONLY public.study_user_attributes
    ADD CONSTRAINT study_user_attributes_study_id_key_key UNIQUE (study_id, key);
ALTER TABLE ONLY public.trial_heartbeats
    ADD CONSTRAINT trial_heartbeats_pkey PRIMARY KEY (trial_heartbeat_id);
ALTER TABLE ONLY public.trial_heartbeats
    ADD CONSTRAINT trial_heartbeats_trial_id_key UNIQUE (trial_id);
ALTER TABLE ONLY public.trial_intermediate_values
    ADD CONSTRAINT trial_intermediate_values_pkey PRIMARY KEY (trial_intermediate_value_id);
ALTER TABLE ONLY public.trial_intermediate_values
    ADD CONSTRAINT trial_intermediate_values_trial_id_step_key UNIQUE (trial_id, step);
ALTER TABLE ONLY public.trial_params
    ADD CONSTRAINT trial_params_pkey PRIMARY KEY (param_id);
ALTER TABLE ONLY public.trial_params
    ADD CONSTRAINT trial_params_trial_id_param_name_key UNIQUE (trial_id, param_name);
ALTER TABLE ONLY public.trial_system_attributes
    ADD CONSTRAINT trial_system_attributes_pkey PRIMARY KEY (trial_system_attribute_id);
ALTER TABLE ONLY public.trial_system_attributes
    ADD CONSTRAINT trial_system_attributes_trial_id_key_key UNIQUE (trial_id, key);
ALTER TABLE ONLY public.trial_user_attributes
    ADD CONSTRAINT trial_user_attributes_pkey PRIMARY KEY (trial_user_attribute_id);
ALTER TABLE ONLY public.trial_user_attributes
    ADD CONSTRAINT trial_user_attributes_trial_id_key_key UNIQUE (trial_id, key);
ALTER TABLE ONLY public.trial_values
    ADD CONSTRAINT trial_values_pkey PRIMARY KEY (trial_value_id);
ALTER TABLE ONLY public.trial_values
    ADD CONSTRAINT trial_values_trial_id_objective_key UNIQUE (trial_id, objective);
ALTER TABLE ONLY public.trials
    ADD CONSTRAINT trials_pkey PRIMARY KEY (trial_id);
ALTER TABLE ONLY public.adai_environments
    ADD CONSTRAINT uq_adai_environments_hash UNIQUE (hash);
ALTER TABLE ONLY public.adai_runs
    ADD CONSTRAINT uq_adai_runs_trial_id_seed UNIQUE (trial_id, seed);
ALTER TABLE ONLY public.adai_studies
    ADD CONSTRAINT uq_adai_studies_name UNIQUE (name);
ALTER TABLE ONLY public.adai_trials
    ADD CONSTRAINT uq_adai_trials_optuna_trial_id UNIQUE (optuna_trial_id);
ALTER TABLE ONLY public.adai_trials
    ADD CONSTRAINT uq_adai_trials_study_id_workload_optimizer_number UNIQUE (study_id, workload, optimizer, number);
ALTER TABLE ONLY public.version_info
    ADD CONSTRAINT version_info_pkey PRIMARY KEY (version_info_id);
CREATE INDEX ix_adai_attempts_study_id ON public.adai_attempts USING btree (study_id);
CREATE UNIQUE INDEX ix_studies_study_name ON public.studies USING btree (study_name);
CREATE INDEX ix_trials_study_id ON public.trials USING btree (study_id);
ALTER TABLE ONLY public.adai_attempts
    ADD CONSTRAINT fk_adai_attempts_study_id FOREIGN KEY (study_id) REFERENCES public.adai_studies(id);
ALTER TABLE ONLY public.adai_epochs
    ADD CONSTRAINT fk_adai_epochs_run_id FOREIGN KEY (run_id) REFERENCES public.adai_runs(id);
ALTER TABLE ONLY public.adai_runs
    ADD CONSTRAINT fk_adai_runs_attempt_id FOREIGN KEY (attempt_id) REFERENCES public.adai_attempts(id);
ALTER TABLE ONLY public.adai_runs
    ADD CONSTRAINT fk_adai_runs_trial_id FOREIGN KEY (trial_id) REFERENCES public.adai_trials(id);
ALTER TABLE ONLY public.adai_studies
    ADD CONSTRAINT fk_adai_studies_environment_id FOREIGN KEY (environment_id) REFERENCES public.adai_environments(id);
ALTER TABLE ONLY public.adai_trials
    ADD CONSTRAINT fk_adai_trials_study_id FOREIGN KEY (study_id) REFERENCES public.adai_studies(id);
ALTER TABLE ONLY public.study_directions
    ADD CONSTRAINT study_directions_study_id_fkey FOREIGN KEY (study_id) REFERENCES public.studies(study_id);
ALTER TABLE ONLY public.study_system_attributes
    ADD CONSTRAINT study_system_attributes_study_id_fkey FOREIGN KEY (study_id) REFERENCES public.studies(study_id);
ALTER TABLE ONLY public.study_user_attributes
    ADD CONSTRAINT study_user_attributes_study_id_fkey FOREIGN KEY (study_id) REFERENCES public.studies(study_id);
ALTER TABLE ONLY public.trial_heartbeats
    ADD CONSTRAINT trial_heartbeats_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.trials(trial_id);
ALTER TABLE ONLY public.trial_intermediate_values
    ADD CONSTRAINT trial_intermediate_values_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.trials(trial_id);
ALTER TABLE ONLY public.trial_params
    ADD CONSTRAINT trial_params_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.trials(trial_id);
ALTER TABLE ONLY public.trial_system_attributes
    ADD CONSTRAINT trial_system_attributes_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.trials(trial_id);
ALTER TABLE ONLY public.trial_user_attributes
    ADD CONSTRAINT trial_user_attributes_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.trials(trial_id);
ALTER TABLE ONLY public.trial_values
    ADD CONSTRAINT trial_values_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.trials(trial_id);
ALTER TABLE ONLY public.trials
    ADD CONSTRAINT trials_study_id_fkey FOREIGN KEY (study_id) REFERENCES public.studies(study_id);
